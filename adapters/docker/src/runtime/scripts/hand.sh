# Kiln's hand in a box: a shell that reads what to do from its standard input, one call of
# `kiln_run` after the other. The shell of a session is another process, and outlives it.
#
# A command of a session leaves files beside each other, $kiln_a.*: `first` (its session; who makes
# it hands the command over), `text`, `out`, `err`, `code.N` and `stopped`. The session is the
# directory $kiln_s: `i`, which its shell reads commands from, `o`, which it opens after each,
# `current`, `pid` and, once the shell is gone, `ended` with its exit code and the command that
# ended it.
exec 9>&2 2>/dev/null
kiln_count=0
# The end of a command's output; then what is told of the command.
kiln_finish() {
  printf '\001%s end\n' "$kiln_mark" >&9
  printf '\001%s %s\n' "$kiln_mark" "$1"
}
# Holds the shell of a session and tells of its end. Whoever hands it a command then is not held up.
kiln_hold() {
  trap : TERM INT HUP QUIT
  kiln_own= kiln_sh=sh
  command -v setsid >/dev/null && kiln_own=setsid
  command -v bash >/dev/null && kiln_sh=bash
  if [ $kiln_sh = bash ]; then
    # It takes one command after the other, to the end of each. A shell that only reads and runs
    # nothing any more (set -n) comes to the end of this.
    kiln_l="\\. $kiln_s/i
"
    for kiln_n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do kiln_l=$kiln_l$kiln_l; done
    printf %s "$kiln_l" >"$kiln_s/main"
    kiln_main=$kiln_s/main
  else
    # Other shells give up opening a pipe when a child ends meanwhile; so it is open for good.
    kiln_main=$kiln_s/i
    exec 3<>"$kiln_s/i"
  fi
  KILN_SESSION=$kiln_s/ $kiln_own /bin/sh -c '
    { read -r kiln_b <"/proc/$$/stat"; } 2>/dev/null
    kiln_s=$1 kiln_sh=$2 kiln_main=$3
    set -- ${kiln_b##*) }
    echo "$$ ${20}" >"$kiln_s/pid"
    echo 100 >/proc/self/oom_score_adj
    exec 3>&-
    exec $kiln_sh "$kiln_main"' kiln "$kiln_s" $kiln_sh "$kiln_main" </dev/null >/dev/null 2>&1
  kiln_l=$?
  { read -r kiln_n <"$kiln_s/current"; } 2>/dev/null
  echo "$kiln_l $kiln_n" >"$kiln_s/ended"
  exec 3<>"$kiln_s/i"
  { :; } >"$kiln_s/o"
  while :; do
    sleep 86400 &
    wait $!
  done
}
# Starts the shell of the session, or waits until somebody has.
kiln_open() {
  [ -s "$kiln_s/pid" ] && return
  for kiln_n in cat mkdir sleep mkfifo; do
    command -v $kiln_n >/dev/null || { kiln_finish "tool $kiln_n"; return 1; }
  done
  # Right after the start of the box its volume may still be closed to other users than root.
  kiln_n=0
  until mkdir "$kiln_s" && kiln_n=first || [ -e "$kiln_s" ] || [ $kiln_n -ge 100 ]; do
    kiln_n=$((kiln_n + 1))
    sleep 0.05 || sleep 1
  done
  if [ $kiln_n = first ]; then
    mkfifo "$kiln_s/i" "$kiln_s/o"
    { exec </dev/null >/dev/null 9>&-; kiln_hold; } &
  fi
  kiln_n=0
  until [ -s "$kiln_s/pid" ]; do
    kiln_n=$((kiln_n + 1))
    [ $kiln_n -gt 1000 ] && kiln_finish lost && return 1
    sleep 0.01 || { kiln_n=$((kiln_n + 60)); sleep 1; }
  done
}
# Runs a command once; a second caller gets its output and its end too. $1: a word that marks what
# is ours. $2: the place of its files. $3: the session. $4: what the shell is told. $5: its text.
# The rest: files to tell of.
kiln_run() {
  kiln_mark=$1 kiln_a=$2 kiln_s=$3 kiln_give=$4 kiln_text=$5
  shift 5
  printf '\001%s begin\n' "$kiln_mark"
  kiln_open || return
  set -C
  if echo "$kiln_s" >"$kiln_a.first"; then
    set +C
    [ -e "$kiln_s/ended" ] && kiln_finish over && return
    printf '%s\n' "$kiln_text" >"$kiln_a.text" && printf '' >"$kiln_a.out" &&
      printf '' >"$kiln_a.err" && echo "$kiln_a" 1<>"$kiln_s/current" ||
      { kiln_finish full; return; }
  else
    set +C
    kiln_give= kiln_n=0
    until [ -e "$kiln_a.err" ] || [ -e "$kiln_a.stopped" ] || [ -e "$kiln_s/ended" ]; do
      kiln_n=$((kiln_n + 1))
      [ $kiln_n -gt 1000 ] && kiln_finish lost && return
      sleep 0.01 || { kiln_n=$((kiln_n + 60)); sleep 1; }
    done
    if [ ! -e "$kiln_a.err" ]; then
      [ -e "$kiln_a.stopped" ] && kiln_finish stopped || kiln_finish over
      return
    fi
  fi
  kiln_follow
  kiln_tell "$@"
}
# Prints output until the command is over. To be woken, it waits to open the pipe `o`, which the
# shell opens too when a command is over. Nothing here makes a process but `cat`, where there is
# output: one more would take longer than all the rest.
kiln_follow() {
  [ $kiln_count -gt 0 ] || kiln_ticker
  kiln_count=$((kiln_count + 1))
  echo $kiln_count >&8
  exec 6<"$kiln_a.out" 7<"$kiln_a.err"
  if [ -n "$kiln_give" ]; then
    # The shell may hang on its pipe still, if the end before was seen without it.
    exec 4<>"$kiln_s/o"
    printf '%s\n' "$kiln_give" >"$kiln_s/i"
    exec 4<&-
    # Whoever misses another end than the usual one is woken.
    [ -e "$kiln_a.code.0" ] || read -r kiln_n <"$kiln_s/o"
  fi
  while :; do
    kiln_last=
    # What was printed before the end is in the files when the end can be seen.
    kiln_over && kiln_last=1
    # An open file remembers how far the last one read.
    [ -s "$kiln_a.out" ] && cat <&6
    [ -s "$kiln_a.err" ] && cat <&7 >&9
    [ $kiln_last ] && break
    read -r kiln_n <"$kiln_s/o"
  done
  echo $kiln_count 1<>"$kiln_s/w$$"
  exec 6<&- 7<&-
}
# Whether the command is over. Sets kiln_code if it has one.
kiln_over() {
  kiln_code=0
  [ -e "$kiln_a.code.0" ] && return
  set -- "$kiln_a".code.*
  kiln_code=${1##*.code.}
  [ -e "$1" ] && return
  kiln_code=
  { read -r kiln_n kiln_l <"$kiln_s/ended"; } || return
  [ "$kiln_l" = "$kiln_a" ] && kiln_code=$kiln_n
  return 0
}
# Starts who wakes us while we follow a command: soon at first, and less often later. Descriptor 8
# tells it the number of each command, and a file that of the last one that is done.
kiln_ticker() {
  mkfifo "$kiln_s/e$$"
  exec 8<>"$kiln_s/e$$"
  {
    # It sees our end by that of the pipe.
    exec </dev/null >/dev/null 9>&- 7<"$kiln_s/e$$" 8>&-
    while read -r kiln_count <&7; do
      kiln_turn=0
      while kiln_waits; do
        kiln_pause
        # This takes until we wait, or another one does.
        kiln_waits && { :; } >"$kiln_s/o"
      done
    done
  } &
}
kiln_waits() {
  kiln_n=
  { read -r kiln_n <"$kiln_s/w$$"; }
  [ "${kiln_n:-0}" -lt $kiln_count ] && kill -0 $$
}
kiln_pause() {
  kiln_turn=$((kiln_turn + 1))
  if [ $kiln_turn -lt 10 ]; then
    kiln_n=0.02
  elif [ $kiln_turn -lt 50 ]; then
    kiln_n=0.05
  else
    kiln_n=0.2
  fi
  sleep $kiln_n || sleep 1
}
# Tells how the command ended, and what its files say: the same each time.
kiln_tell() {
  printf '\001%s end\n' "$kiln_mark" >&9
  kiln_notes "$kiln_mark" "$kiln_a" "$@"
  if [ -e "$kiln_a.stopped" ]; then
    kiln_code=stopped
  elif [ "$kiln_code" = cwd ]; then
    kiln_code='code 126 cwd'
  elif [ -n "$kiln_code" ]; then
    kiln_code="code $kiln_code"
  else
    kiln_code=lost
  fi
  printf '\001%s %s\n' "$kiln_mark" "$kiln_code"
}
