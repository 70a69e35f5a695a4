#!/bin/sh
# msi.sh VERSION ARCH BIN PACKAGE makes the client's package for Windows, on amd64
# or arm64, of the programs and the icon in BIN, a path from the repository's root,
# where this runs.
set -eu
version=$1 arch=$2 bin=$3 package=$4
rm -f "$package"
# A word that wixl does not know is an error, which by itself it only tells.
G_DEBUG=fatal-warnings wixl --arch x64 --define VERSION="$version" --define BIN="$bin" --output "$package" packaging/backstay.wxs

# What wixl leaves out. The types are sums: a program from a folder (34) or an
# installed one (18), deferred (1024), as the system (2048), whose end does not
# matter (64), whose command line is in no log (8192), or to take back (256).
system() { # NAME TYPE SEQUENCE CONDITION PROGRAM ARGUMENTS: one of Windows' own programs
	printf '%s\n' "INSERT INTO CustomAction (Action, Type, Source, Target) VALUES ('$1', $2, 'System64Folder', '\"[System64Folder]$5\" $6')"
	printf '%s\n' "INSERT INTO InstallExecuteSequence (Action, Condition, Sequence) VALUES ('$1', '$4', $3)"
}
unless='NOT (REMOVE="ALL")'
{
	# An older version and the same one made anew are replaced (768: both ends count).
	printf '%s\n' "INSERT INTO Upgrade (UpgradeCode, VersionMin, VersionMax, Attributes, ActionProperty) VALUES ('{9C7A4E0D-6A1B-4B5C-8B3F-2D7C51F0A6E4}', '0.0.0', '$version', 768, 'OLDER')"
	printf '%s\n' "UPDATE Property SET Value = 'NEWER;OLDER;SERVER;CA_SHA256;TOKEN;PROXY;EDITION;IDENTITY' WHERE Property = 'SecureCustomProperties'"
	# The old version goes first, and comes back when the new one cannot be installed.
	printf '%s\n' "UPDATE InstallExecuteSequence SET Sequence = 1510 WHERE Action = 'RemoveExistingProducts'"
	printf '%s\n' "UPDATE InstallExecuteSequence SET Sequence = 4100 WHERE Action = 'LeaveDeployFile'"
	printf '%s\n' "UPDATE CustomAction SET Type = 11282 WHERE Action = 'LeaveDeployFile'"
	# No token stays behind where the installation failed.
	system TakeDeployFile 3426 4099 "TOKEN AND $unless" cmd.exe '/c del "[CommonAppDataFolder]Backstay\deploy.toml"'
	# An installation fails when its service cannot be made.
	printf '%s\n' "UPDATE ServiceInstall SET ErrorControl = 32769 WHERE ServiceInstall = 'InstallService'"
	# It starts again five seconds after it ended by itself, and with the computer
	# once the rest has. Its path is quoted: there is a blank in it.
	system RestartService 3170 5810 "$unless" sc.exe 'failure backstay reset= 86400 actions= restart/5000'
	system DelayService 3170 5811 "$unless" sc.exe 'config backstay start= delayed-auto binPath= "\"[INSTALLDIR]backstay.exe\" service run"'
	# backstay ui is a console program that opens the browser: its own window is small.
	printf '%s\n' "UPDATE Shortcut SET ShowCmd = 7 WHERE Shortcut = 'OpenBackstay'"
} | while IFS= read -r query; do msibuild "$package" -q "$query"; done

# wixl knows no ARM. What is the processor's stands in the summary alone.
if [ "$arch" = arm64 ]; then
	msibuild "$package" -s "Backs up this computer to an organisation's Backstay server" Backstay 'Arm64;1033'
fi
