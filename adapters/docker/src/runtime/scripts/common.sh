# Variables begin with kiln_: one that the command was given must not change on its way through.
# Sets kiln_b to when process $1 began, in ticks since boot; fails if there is none. With its
# number that names a process for good.
born() {
  { read -r kiln_b <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${kiln_b##*) }
  kiln_b=${20}
  [ "$1" != Z ]
}
# Whether the command of $kiln_d is over. A code without its line end is still being written.
over() { { read -r kiln_code <"$kiln_d/code"; } 2>/dev/null; }
# Whether somebody runs the command of $kiln_d.
alive() {
  { read -r kiln_p kiln_t <"$kiln_d/pid"; } 2>/dev/null && born "$kiln_p" &&
    [ "$kiln_b" = "$kiln_t" ]
}
