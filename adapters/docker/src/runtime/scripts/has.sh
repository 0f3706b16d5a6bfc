# Says whether the attempt of directory $1 can be attached to.
kiln_d=$1
[ -e "$kiln_d/stopped" ] && exit
over || alive && echo yes
