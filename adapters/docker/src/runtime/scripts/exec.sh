# Runs a command once and prints all of its output; a second caller prints it too.
# $1: a word that marks the last line. $2: the runner, for another shell. $3: the step.
# $4: the directory of the attempt. $5: where to run, or nothing. The rest: the command.
kiln_mark=$1 kiln_run=$2 kiln_key=$3 kiln_d=$4
shift 4
finish() {
  # The two streams may overtake each other, so each has its end.
  printf '\001%s end\n' "$kiln_mark" >&2
  printf '\001%s %s\n' "$kiln_mark" "$1"
  exit 0
}
# What comes before this line is the engine's own, such as why there is no shell.
printf '\001%s begin\n' "$kiln_mark"
for kiln_n in cat mkdir sleep; do
  command -v $kiln_n >/dev/null 2>&1 || finish "tool $kiln_n"
done
trap : USR1
kiln_first= kiln_n=0
# Right after the start of the box its volume may still be closed to other users than root.
until mkdir "$kiln_d" 2>/dev/null && kiln_first=1 || [ -e "$kiln_d" ] || [ $kiln_n -ge 100 ]; do
  kiln_n=$((kiln_n + 1))
  sleep 0.05 2>/dev/null || sleep 1
done
if [ $kiln_first ]; then
  (
    kiln_own=
    command -v setsid >/dev/null 2>&1 && kiln_own=setsid
    KILN_STEP=$kiln_key $kiln_own /bin/sh -c "$kiln_run" kiln "$kiln_d" "$@" </dev/null \
      >"$kiln_d/out" 2>"$kiln_d/err"
    # Wakes the one below, if it is still our parent.
    { read -r kiln_n </proc/self/stat; } 2>/dev/null
    set -- ${kiln_n##*) }
    [ "$2" = $$ ] && kill -USR1 $$
  ) >/dev/null 2>&1 &
fi
# Until there is a runner: a moment, unless its maker died.
kiln_n=0
until [ -s "$kiln_d/pid" ] || over; do
  [ -e "$kiln_d/stopped" ] && finish stopped
  kiln_n=$((kiln_n + 1))
  [ $kiln_n -gt 200 ] && finish lost
  sleep 0.01 2>/dev/null || { kiln_n=$((kiln_n + 60)); sleep 1; }
done
exec 3<"$kiln_d/out" 4<"$kiln_d/err"
kiln_n=0 kiln_slow=
while :; do
  kiln_last=
  # What was printed before the end is in the files when the end can be seen.
  over && kiln_last=1 || alive || kiln_last=1
  # An open file remembers how far the last one read.
  cat <&3
  cat <&4 >&2
  [ $kiln_last ] && break
  kiln_n=$((kiln_n + 1))
  if [ $kiln_slow ]; then
    kiln_p=1
  elif [ $kiln_n -lt 10 ]; then
    kiln_p=0.02
  elif [ $kiln_n -lt 50 ]; then
    kiln_p=0.05
  else
    kiln_p=0.2
  fi
  sleep $kiln_p >/dev/null 2>&1 &
  wait $!
  # An old sleep knows whole seconds only; above 128 it was woken.
  kiln_p=$?
  [ $kiln_p -gt 0 ] && [ $kiln_p -lt 128 ] && kiln_slow=1
done
[ -e "$kiln_d/stopped" ] && finish stopped
over && finish "code $kiln_code"
finish lost
