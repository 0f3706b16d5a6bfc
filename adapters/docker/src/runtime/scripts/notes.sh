# Tells what files say that a command left, the same each time. Only plain files are opened. $1: the
# mark. $2: the place of the command's own files. The rest: the files.
kiln_notes() {
  kiln_m=$1 kiln_p=$2 kiln_i=0
  shift 2
  for kiln_f; do
    if [ ! -e "$kiln_p.note.$kiln_i" ] && [ -f "$kiln_f" ] && command -v head >/dev/null; then
      head -c 65536 <"$kiln_f" >"$kiln_p.note.$kiln_i"
    fi 2>/dev/null
    if [ -e "$kiln_p.note.$kiln_i" ]; then
      printf '\001%s note %s\n' "$kiln_m" $kiln_i
      cat "$kiln_p.note.$kiln_i"
    fi
    kiln_i=$((kiln_i + 1))
  done
}
