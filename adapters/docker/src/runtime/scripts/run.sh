# Runs a command in a session of its own, with its output going to files, and leaves its exit code.
# $1: the directory of the attempt. $2: where to run, or nothing. The rest: the command.
kiln_d=$1 kiln_c=$2
shift 2
# It outlives what it tells to stop. Unlike ignored signals, trapped ones are not handed down.
trap : TERM INT HUP QUIT
born $$
echo "$$ $kiln_b" >"$kiln_d/pid"
leave() {
  echo "$1" >"$kiln_d/code"
  exit
}
[ -e "$kiln_d/stopped" ] && exit
if [ -n "$kiln_c" ]; then
  cd -- "$kiln_c" >/dev/null 2>&1 || leave "126 cwd"
fi
kiln_found= kiln_there=
case $1 in
*/*)
  [ -e "$1" ] && kiln_there=1
  [ -f "$1" ] && [ -x "$1" ] && kiln_found=1
  ;;
*)
  set -f
  IFS=:
  for kiln_p in $PATH; do
    [ -f "${kiln_p:-.}/$1" ] && kiln_there=1 && [ -x "${kiln_p:-.}/$1" ] && kiln_found=1 && break
  done
  unset IFS
  set +f
  ;;
esac
[ $kiln_there ] || leave "127 missing"
[ $kiln_found ] || leave "126 denied"
# The shell's own words, such as that a process was killed, are not the command's.
exec 8>&2 2>/dev/null
(
  # Where memory is short, the command is to be killed and not who tells of it.
  echo 100 >/proc/self/oom_score_adj
  exec "$@" 2>&8 8>&-
)
leave $?
