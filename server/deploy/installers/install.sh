#!/bin/sh
# Makes this computer a device of {{.Server}}: installs the Backstay client, and
# leaves the file by which it enrols. Run it as root; once more does no harm. It
# holds a deployment token: keep it like a password.
set -eu
umask 077
server={{sh .Server}}
pin={{sh .Pin}} # of the server's key, where no authority answers for it
file=/etc/backstay/deploy.toml

fail() {
	echo "backstay: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail "run this as root: sudo sh $0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # NAME
	command -v curl >/dev/null || fail "curl is missing; install it, or put $1 beside this script"
	pinned=
	[ -z "$pin" ] || pinned="--insecure --pinnedpubkey sha256//$pin"
	# shellcheck disable=SC2086
	curl --fail --silent --show-error --proto =https $pinned --output "$work/$1" "$server{{clients}}$1" ||
		fail "$1 cannot be fetched from $server; mend that, or put it beside this script"
}

# Wherever the file came from, it must be the one that the server has.
get() { # NAME SHA256
	beside=$(dirname "$0")/$1
	if [ -f "$beside" ]; then cp "$beside" "$work/$1"; else fetch "$1"; fi
	if command -v sha256sum >/dev/null; then sum=$(sha256sum "$work/$1"); else sum=$(shasum -a 256 "$work/$1"); fi
	[ "${sum%% *}" = "$2" ] || fail "$1 is not the file that the server had when this script was made; nothing was installed"
}

leave_file() {
	mkdir -p /etc/backstay
	chmod 0755 /etc/backstay
	cat >"$file.new" <<'END'
{{.TOML}}END
	mv -f "$file.new" "$file"
}

this="$(uname -s) $(uname -m)"
installed=
{{- range .Files}}
if [ -z "$installed" ] && [ "$this" = {{sh .Uname}} ]{{with .Needs}} && command -v {{.}} >/dev/null{{end}}; then
	get {{sh .Name}} {{.SHA256}}
	leave_file
{{- if eq .Kind "deb"}}
	dpkg -i "$work/"{{sh .Name}}
{{- else if eq .Kind "rpm"}}
	rpm -U --replacepkgs "$work/"{{sh .Name}}
{{- else}}
	mkdir -p /usr/local/bin
	chmod 0755 "$work/"{{sh .Name}}
	mv -f "$work/"{{sh .Name}} /usr/local/bin/backstay
	if [ -e /Library/LaunchDaemons/org.backstay.agent.plist ]; then
		/usr/local/bin/backstay service restart
	else
		/usr/local/bin/backstay service install
		/usr/local/bin/backstay service start
	fi
{{- end}}
	installed=yes
fi
{{- end}}
[ -n "$installed" ] || fail "the server had no client for $this when this script was made"

# What enrols the computer by the file is the packages' own unit where systemd
# runs, and on macOS the service.
if [ -d /run/systemd/system ] || [ "$(uname -s)" = Darwin ]; then
	echo 'Installed. This computer enrols by itself; how far it is: backstay status'
else
	backstay deploy --config "$file"
fi
