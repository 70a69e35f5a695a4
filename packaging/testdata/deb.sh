# What an administrator and two users do with the Debian packages. It runs on a
# computer of its own, in place of whose systemd stands testdata/systemctl.

trap '[ $? = 0 ] || tail -n 30 /tmp/*.log' EXIT
soon() { # COMMAND... succeeds within a minute
	for _ in $(seq 300); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.2
	done
	"$@"
}
as() { # USER COMMAND...
	who=$1
	shift
	setpriv --reuid="$who" --regid="$who" --init-groups --reset-env --inh-caps=-all "$@"
}
snapshots() { # USER their snapshots, a line each
	as "$1" backstay snapshots --json | grep -o '"hash": *"[^"]*"' | sort
}
never() { # COMMAND... must fail
	if "$@"; then exit 1; fi
}
mkdir -p /run/systemd/system
cp /usr/bin/systemctl /tmp/systemctl
mount --bind /tmp/pkg/systemctl /usr/bin/systemctl
cd /

# Installing: both run at once, and start with the computer.

dpkg -i /tmp/pkg/0.1.0/backstay.deb /tmp/pkg/0.1.0/backstay-server.deb
cd /usr/lib/systemd/system
systemd-analyze verify backstay.service backstay-deploy.service backstay-deploy.path backstay-server.service >/tmp/verified 2>&1
never grep backstay /tmp/verified
systemd-analyze security --offline=true --threshold=25 backstay-deploy.service >/dev/null # in tenths
cd /
test -L /etc/systemd/system/multi-user.target.wants/backstay.service
test -L /etc/systemd/system/multi-user.target.wants/backstay-deploy.service
test -L /etc/systemd/system/paths.target.wants/backstay-deploy.path
test -L /etc/systemd/system/multi-user.target.wants/backstay-server.service
soon sh -c 'backstay service status | grep "keeps no agent"'
test "$(stat -c '%a %U' /var/lib/backstay)" = '700 root'
test "$(stat -c '%a %U %G' /etc/backstay/server.yaml)" = '640 root backstay-server'
backstay service install 2>&1 | grep -q 'came with a package'

# The window is in the menu, with its icon. Root is sent to where it belongs.

grep -qx 'Exec=/usr/bin/backstay ui' /usr/share/applications/backstay.desktop
test -s "/usr/share/icons/hicolor/scalable/apps/$(sed -n 's/^Icon=//p' /usr/share/applications/backstay.desktop).svg"
never backstay ui

# A server with two users.

echo "listen: $ADDRESS" >>/etc/backstay/server.yaml
systemctl restart backstay-server.service
soon grep -q "$ADDRESS" /tmp/backstay-server.log
soon grep -qE '[0-9A-Fa-f:]{64,}' /tmp/backstay-server.log
fingerprint=$(grep -oE '[0-9A-Fa-f:]{64,}' /tmp/backstay-server.log | tail -n 1)
test "$(ps -o user:20= -p "$(cat /run/backstay-server.pid)")" = backstay-server
echo 'Correct horse 4 battery alice' >/tmp/alice
as backstay-server backstay-server admin create --org Example --password-file /dev/stdin alice </tmp/alice
for user in ann bob; do
	useradd --create-home --home-dir "/home/$user" "$user"
	echo "Correct horse 4 battery $user" >"/home/$user/password"
	as backstay-server backstay-server user create --org Example --password-file /dev/stdin "$user" <"/home/$user/password"
	echo "A bicycle for $user and 2 others" >"/home/$user/new"
	chown "$user:" "/home/$user/password" "/home/$user/new"
done

# Each activates for themselves, and the service takes it from there.

for user in ann bob; do
	as "$user" backstay activate --server "https://$ADDRESS" --ca-fingerprint "$fingerprint" --user "$user" \
		--password-file "/home/$user/password" --new-password-file "/home/$user/new" --name "$user-computer" | grep 'service backs up'
	as "$user" mkdir "/home/$user/documents"
	as "$user" cp "/home/$user/password" "/home/$user/documents/file"
	soon sh -c "setpriv --reuid=$user --regid=$user --init-groups --reset-env backstay status --json | grep '\"online\": true'"
	as "$user" backstay backup "/home/$user/documents"
	test "$(ps -o user= -C backstay | grep -c "^$user")" = 1
done
backstay service status --json | grep -c '"state": "running"' | grep -x 2
as ann backstay service status --json | grep -c '"user"' | grep -x 1
never as ann test -r /home/bob/.local/state/backstay/device.json

# An upgrade starts the new version, and everything goes on. How many snapshots
# there are nobody knows: the agents make some by themselves.

for user in ann bob; do snapshots "$user" >"/tmp/$user.before"; done
before=$(cat /run/backstay.pid)
sleep 1
dpkg -i /tmp/pkg/0.1.1/backstay.deb /tmp/pkg/0.1.1/backstay-server.deb
test "$(cat /run/backstay.pid)" != "$before"
never kill -0 "$before"
dpkg -s backstay | grep -x 'Version: 0.1.1'
grep -q "$ADDRESS" /etc/backstay/server.yaml
for user in ann bob; do
	soon sh -c "setpriv --reuid=$user --regid=$user --init-groups --reset-env backstay status --json | grep '\"online\": true'"
	as "$user" backstay backup
	snapshots "$user" >"/tmp/$user.after"
	test -s "/tmp/$user.before"
	never grep -vxFf "/tmp/$user.after" "/tmp/$user.before"
	grep -qvxFf "/tmp/$user.before" "/tmp/$user.after"
done

# Disabled by the administrator, it stays so.

systemctl disable backstay.service
systemctl stop backstay.service
dpkg -i /tmp/pkg/0.1.1/backstay.deb
test ! -e /etc/systemd/system/multi-user.target.wants/backstay.service
never systemctl is-active backstay.service
systemctl enable backstay.service
systemctl start backstay.service
soon sh -c 'backstay service status --json | grep -c "\"state\": \"running\"" | grep -x 2'

# Removing ends the agents and keeps what they remember.

dpkg -r backstay
test ! -e /usr/bin/backstay
test -z "$(ps -o pid= -C backstay)"
test -e /var/lib/backstay/enrolments

# The console makes an installer of a token and of the package that the server has.
# What is not that package is not installed, nor fetched from another server; then it
# makes the computer a device. The token is gone from the computer.

console() { # PATH [FIELD=VALUE]...
	path=$1
	shift
	for field in "$@"; do
		set -- "$@" --data-urlencode "$field"
		shift
	done
	curl -sSk -b /tmp/cookies -c /tmp/cookies -H "Origin: https://$ADDRESS" "$@" "https://$ADDRESS/admin$path"
}
package=backstay_0.1.1_$(dpkg --print-architecture).deb
mkdir -m 0755 /var/lib/backstay-server/clients /tmp/beside
cp /tmp/pkg/0.1.1/backstay.deb "/var/lib/backstay-server/clients/$package"
console /login >/dev/null
console /login username=alice "password=$(cat /tmp/alice)" >/dev/null
console /deployment/new name=Fleet days=1 create_users=on domains=example.org >/tmp/lines
token=$(sed -n 's/.*name="token" value="\([^"]*\)".*/\1/p' /tmp/lines)
console /deployment/installer name=install-backstay.sh "token=$token" |
	sed 's/^identity = .*/identity = "email:dana@example.org"/' >/tmp/install-backstay.sh
grep -q "^token = \"$token\"" /tmp/install-backstay.sh
cp /tmp/install-backstay.sh /tmp/beside/install.sh
cp /tmp/pkg/0.1.0/backstay.deb "/tmp/beside/$package"
never sh /tmp/beside/install.sh
sed "s|^pin=.*|pin='$(openssl rand -base64 32)'|" /tmp/install-backstay.sh >/tmp/elsewhere.sh
never sh /tmp/elsewhere.sh
never as ann sh /tmp/install-backstay.sh
test ! -e /usr/bin/backstay
test ! -e /etc/backstay/deploy.toml
sh /tmp/install-backstay.sh
dpkg -s backstay | grep -x 'Version: 0.1.1'
test "$(stat -c '%a %U' /etc/backstay/deploy.toml)" = '600 root'
soon sh -c 'backstay service status --json | grep -c "\"state\": \"running\"" | grep -x 3'
soon sh -c 'backstay status --json | grep "\"online\": true"'
backstay status --json | grep '"username": "dana@example.org"'
never grep bsd1 /etc/backstay/deploy.toml
grep -q "$ADDRESS" /etc/backstay/deploy.toml
soon sh -c '! kill -0 "$(cat /run/backstay-deploy.pid)"'

# Purging forgets, but neither what is the users' nor the backups.

dpkg -P backstay backstay-server
test ! -e /var/lib/backstay
test ! -e /etc/backstay
test -e /home/ann/.local/state/backstay/device.json
test -e /var/lib/backstay-server/backstay.db
test -z "$(find /etc/systemd /var/lib/systemd -name 'backstay*')"
test -z "$(ps -o pid= -C backstay,backstay-server)"
set +x
echo 'all is well'
