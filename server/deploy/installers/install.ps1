# Makes this computer a device of {{.Server}}: installs the Backstay client, whose
# service enrols the computer. Run it as administrator or as the system; once more
# does no harm. It holds a deployment token: keep it like a password.
#Requires -RunAsAdministrator
$ErrorActionPreference = 'Stop'
$server = {{ps .Server}}
$pin = {{ps .Pin}} # of the server's key, where no authority answers for it
$properties = @('SERVER=' + $server, {{ps (print "TOKEN=" .Token)}}{{if .Fingerprint}}, {{ps (print "CA_SHA256=" .Fingerprint)}}{{end}}, 'IDENTITY=auto')
$clients = @{
{{- range .Files}}
    {{ps .Processor}} = @({{ps .Name}}, {{ps .SHA256}})
{{- end}}
}

# Management often runs scripts by a PowerShell of 32 bits.
$processor = if ($env:PROCESSOR_ARCHITEW6432) { $env:PROCESSOR_ARCHITEW6432 } else { $env:PROCESSOR_ARCHITECTURE }
if (-not $clients.ContainsKey($processor)) {
    throw "The server had no client for Windows on $processor when this script was made."
}
$name, $sum = $clients[$processor]
$system = "$env:SystemRoot\System32"

# A folder that only administrators write to: what was checked is what is installed.
$folder = "$env:ProgramFiles\Backstay-$([guid]::NewGuid())"
New-Item -ItemType Directory -Path $folder | Out-Null
try {
    # Wherever the package came from, it must be the one that the server has.
    $package = "$folder\$name"
    $beside = Join-Path $PSScriptRoot $name
    if (Test-Path -LiteralPath $beside) {
        Copy-Item -LiteralPath $beside -Destination $package
    } else {
        $arguments = @('--fail', '--silent', '--show-error', '--proto', '=https', '--output', $package, "$server{{clients}}$name")
        if ($pin) { $arguments += '--insecure', '--pinnedpubkey', "sha256//$pin" }
        & "$system\curl.exe" @arguments
        if ($LASTEXITCODE -ne 0) { throw "$name cannot be fetched from $server. Mend that, or put it beside this script." }
    }
    if ((Get-FileHash -Algorithm SHA256 -LiteralPath $package).Hash -ne $sum) {
        throw "$name is not the file that the server had when this script was made. Nothing was installed."
    }
    $arguments = @('/i', "`"$package`"", '/qn', '/norestart') + $properties
    $ended = Start-Process -FilePath "$system\msiexec.exe" -ArgumentList $arguments -Wait -PassThru
    if ($ended.ExitCode -notin 0, 3010) { throw "Windows Installer ended with $($ended.ExitCode)." }
} finally {
    Remove-Item -LiteralPath $folder -Recurse -Force
}
Write-Output 'Installed. This computer enrols by itself; how far it is: backstay status'
