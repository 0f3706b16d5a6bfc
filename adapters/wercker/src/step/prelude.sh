_kiln_say() { printf '%b\n' "$1"; }
success() { _kiln_say "${1-}"; }
info() { _kiln_say "${1-}"; }
debug() { _kiln_say "${1-}"; }
warn() { _kiln_say "${1-}"; }
warning() { _kiln_say "${1-}"; }
error() { _kiln_say "error: ${1-}"; }
setMessage() {
  [ -n "${WERCKER_REPORT_MESSAGE_FILE-}" ] || return 0
  printf '%s\n' "${1-}" > "$WERCKER_REPORT_MESSAGE_FILE"
}
fail() {
  _kiln_say "failed: ${1-}"
  setMessage "${1-}" || :
  exit 1
}
if ! command -v sudo > /dev/null 2>&1; then
  sudo() {
    while [ $# -gt 0 ]; do
      case "$1" in
        --) shift; break ;;
        -u|--user)
          [ "${2-}" = root ] || [ "${2-}" = "$(id -un)" ] || {
            printf 'sudo: there is no sudo in this box to become %s with\n' "${2-nobody}" >&2
            return 1
          }
          shift 2 ;;
        -g|--group|-p|--prompt|-C|-h|--host)
          [ $# -gt 1 ] || return 1
          shift 2 ;;
        -*) shift ;;
        *) break ;;
      esac
    done
    case "${1-}" in
      '') return 0 ;;
      [A-Za-z_]*=*) env "$@" ;;
      *) "$@" ;;
    esac
  }
fi
