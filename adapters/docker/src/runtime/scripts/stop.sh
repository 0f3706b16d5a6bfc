# Stops the command of the attempt in directory $1, which runs as step $2, and all it started. $3: its
# session, which ends with it, or nothing.
# Some shells complain of what `environ` holds.
exec 2>/dev/null
kiln_d=$1 kiln_key=$2 kiln_s=$3 kiln_first=
# Nobody runs a command for which there is a directory, or that file, from before.
if [ -n "$kiln_s" ]; then
  set -C
  echo >"$kiln_d.first" && kiln_first=1
  set +C
  echo >"$kiln_d.stopped"
  kiln_d=$kiln_s
else
  mkdir "$kiln_d" 2>/dev/null && kiln_first=1
  : >"$kiln_d/stopped"
fi
[ $kiln_first ] && exit
kiln_n=0
until [ -s "$kiln_d/pid" ]; do
  kiln_n=$((kiln_n + 1))
  [ $kiln_n -gt 20 ] && exit
  sleep 0.05 2>/dev/null || sleep 1
done
{ read -r kiln_p kiln_t <"$kiln_d/pid"; } 2>/dev/null
# Sends signal $1 to the session of the command, and to who left it but has its environment.
# Fails if there is nobody.
hit() {
  kiln_signal=$1 kiln_hits=
  for kiln_f in /proc/[0-9]*; do
    { read -r kiln_s <"$kiln_f/stat"; } 2>/dev/null || continue
    set -- ${kiln_s##*) }
    [ "$1" = Z ] && continue
    kiln_ours=
    if [ "$4" = "$kiln_p" ]; then
      kiln_ours=1
    else
      case $({ cat "$kiln_f/environ"; } 2>/dev/null) in
      *"KILN_STEP=$kiln_key"* | *"KILN_SESSION=${kiln_s:-none}/"*) kiln_ours=1 ;;
      esac
    fi
    [ $kiln_ours ] && kill -$kiln_signal "${kiln_f#/proc/}" 2>/dev/null && kiln_hits=1
  done
  [ $kiln_hits ]
}
hit TERM
kiln_n=0
while [ $kiln_n -lt 20 ] && hit 0; do
  kiln_n=$((kiln_n + 1))
  sleep 0.05 2>/dev/null || {
    kiln_n=20
    sleep 1
  }
done
kiln_n=0
while [ $kiln_n -lt 10 ] && hit KILL; do
  kiln_n=$((kiln_n + 1))
done
