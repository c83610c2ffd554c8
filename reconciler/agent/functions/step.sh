# Speak to the worker from a script: outputs, artifacts, progress. Works in every POSIX shell and in bash.
# Values travel percent-encoded; five characters are enough to keep a message on one line.

_reconcile_replace() { # TEXT CHARACTER CODE -> $_reconcile_text, without starting a process
  _reconcile_text='' _reconcile_rest=$1
  while :; do
    case $_reconcile_rest in
      *"$2"*)
        _reconcile_text=$_reconcile_text${_reconcile_rest%%"$2"*}$3
        _reconcile_rest=${_reconcile_rest#*"$2"} ;;
      *)
        _reconcile_text=$_reconcile_text$_reconcile_rest
        return 0 ;;
    esac
  done
}

_reconcile_encode() { # TEXT -> $_reconcile_text
  _reconcile_replace "$1" % %25
  _reconcile_replace "$_reconcile_text" ' ' %20
  _reconcile_replace "$_reconcile_text" ']' %5D
  _reconcile_replace "$_reconcile_text" '
' %0A
  _reconcile_replace "$_reconcile_text" "$(printf '\r')" %0D
}

_reconcile_say() { # VERB [KEY VALUE]...
  _reconcile_message=$1
  shift
  while [ $# -ge 2 ]; do
    _reconcile_encode "$2"
    _reconcile_message="$_reconcile_message $1=$_reconcile_text"
    shift 2
  done
  printf '##reconcile[%s %s]\n' "$RECONCILE_NONCE" "$_reconcile_message"
}

set_output() { # NAME VALUE [--sensitive]
  if [ "${1-}" = --sensitive ]; then
    shift
    _reconcile_say set_output name "${1-}" value "${2-}" sensitive true
  elif [ "${3-}" = --sensitive ]; then
    _reconcile_say set_output name "${1-}" value "${2-}" sensitive true
  else
    _reconcile_say set_output name "${1-}" value "${2-}"
  fi
}
add_artifact() { _reconcile_say add_artifact path "${1-}" name "${2-}"; } # PATH [NAME]
progress() { _reconcile_say progress percent "${1-}" message "${2-}"; }   # PERCENT [MESSAGE]
log_level() { _reconcile_say log_level level "${1-}"; }                   # debug|info|warning|error|highlight
mask() { _reconcile_say mask value "${1-}"; }                             # VALUE
fail() { # MESSAGE
  _reconcile_say fail message "${1-}"
  exit 1
}
