# Says whether the attempt of directory $1 can be attached to.
kiln_d=$1
if { read -r kiln_s <"$kiln_d.first"; } 2>/dev/null; then
  [ -e "$kiln_d.stopped" ] && exit
  set -- "$kiln_d".code.*
  [ -e "$1" ] && echo yes && exit
  if { read -r kiln_n kiln_l <"$kiln_s/ended"; } 2>/dev/null; then
    [ "$kiln_l" = "$kiln_d" ] && echo yes
    exit
  fi
  kiln_d=$kiln_s
fi
[ -e "$kiln_d/stopped" ] && exit
over || alive && echo yes
