#!/usr/bin/env bash
# Play the main job as a person would: declare, plan, apply; a new release, a mistake, a failure, a rollback.
# Needs `reconcile`, git and python3 on PATH; leaves nothing behind.
set -euo pipefail

examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
shop=$(mktemp -d)
server=

clean_up() {
  if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$shop"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

bold= blue= plain=
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then bold=$'\e[1m' blue=$'\e[36m' plain=$'\e[0m'; fi

say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }

# run EXIT COMMAND… : show a command as it is typed, run it, and insist on its exit code
run() {
  local expected=$1 exit=0
  shift
  printf '\n%s$ %s%s\n' "$blue" "$(sed "s/'\([A-Za-z0-9_.:/@=-]*\)'/\1/g" <<<"${*@Q}")" "$plain"
  "$@" || exit=$?
  if [[ $exit != 0 ]]; then printf '(exit %s)\n' "$exit"; fi
  if [[ $exit != "$expected" ]]; then
    printf 'The demo expected exit %s and got %s.\n' "$expected" "$exit" >&2
    exit 1
  fi
}

# page : what a customer sees
page() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' "$BOOKSHOP_URL"; }

for name in ${!GIT_@}; do unset "$name"; done
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.org GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.org

say "A repository that declares a bookshop, and a web server that serves its pages"
mkdir -p "$shop/repository" "$shop/files/site"
cp -R "$examples/bookshop/." "$shop/repository"
cd "$shop/repository"
git init --quiet --initial-branch=main
git add --all
git commit --quiet --message "Bookshop 1.0.0"
exec {started}< <(exec python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$shop/files/site" 2>/dev/null)
server=$!
read -r line <&"$started"
[[ $line =~ (http://[0-9.:]+/) ]]
export BOOKSHOP_ROOT=$shop/files BOOKSHOP_URL=${BASH_REMATCH[1]}
BOOKSHOP_BACKUP_KEY=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
export BOOKSHOP_BACKUP_KEY
run 0 git ls-files

say "Is it right? What would happen? Do it."
run 0 reconcile validate
run 0 reconcile plan
run 0 reconcile apply --auto-approve --new-state
run 0 page

say "What is there now, and what was printed on the way"
run 0 reconcile status
run 0 reconcile logs 1
run 0 reconcile artifacts 1

say "A release is a commit"
run 0 git apply "$examples/releases/1.1.0.patch"
run 0 git diff --unified=0
run 0 git commit --quiet --all --message "Bookshop 1.1.0: prices"
run 2 reconcile plan --detailed-exitcode
run 0 reconcile apply --auto-approve
run 0 page
run 0 reconcile plan --detailed-exitcode

say "A slip of the finger is found before anything runs"
run 0 sed -i.before '0,/shop-server/s//shop-sever/' project.yaml
run 1 reconcile validate
run 0 mv project.yaml.before project.yaml

say "A release that fails half-way puts the database back"
run 0 git apply "$examples/releases/2.0.0.patch"
run 0 git commit --quiet --all --message "Bookshop 2.0.0: prices in pence, one entry per title"
run 6 reconcile apply --auto-approve
run 0 page

say "A rollback is a commit, too"
run 0 git revert --no-edit HEAD
run 0 reconcile apply --auto-approve
run 0 reconcile tasks
say "That was the whole of it."
