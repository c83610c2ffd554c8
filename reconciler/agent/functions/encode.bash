
_reconcile_encode() { # TEXT -> $_reconcile_text; bash replaces by itself, and faster
  _reconcile_text=${1//'%'/%25}
  _reconcile_text=${_reconcile_text//' '/%20}
  _reconcile_text=${_reconcile_text//']'/%5D}
  _reconcile_text=${_reconcile_text//$'\n'/%0A}
  _reconcile_text=${_reconcile_text//$'\r'/%0D}
}
