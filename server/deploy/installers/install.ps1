# Makes this computer a device of {{.Server}}: installs the Backstay client as a
# service, and enrols the computer. Run it as administrator or as the system; once
# more does no harm. It holds a deployment token: keep it like a password.
#Requires -RunAsAdministrator
$ErrorActionPreference = 'Stop'
$server = {{ps .Server}}
$pin = {{ps .Pin}} # of the server's key, where no authority answers for it
$clients = @{
{{- range .Files}}
    {{ps .Processor}} = @({{ps .Name}}, {{ps .SHA256}})
{{- end}}
}

function Invoke-Checked([string]$Program, [string[]]$Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program $Arguments ended with $LASTEXITCODE" }
}

if (-not $clients.ContainsKey($env:PROCESSOR_ARCHITECTURE)) {
    throw "The server had no client for Windows on $env:PROCESSOR_ARCHITECTURE when this script was made."
}
$name, $sum = $clients[$env:PROCESSOR_ARCHITECTURE]
$system = "$env:SystemRoot\System32"
$folder = "$env:ProgramFiles\Backstay"
$program = "$folder\backstay.exe"
$new = "$folder\backstay.new"
New-Item -ItemType Directory -Force -Path $folder | Out-Null

# Wherever the program came from, it must be the one that the server has.
$beside = Join-Path $PSScriptRoot $name
if (Test-Path -LiteralPath $beside) {
    Copy-Item -LiteralPath $beside -Destination $new -Force
} else {
    $arguments = @('--fail', '--silent', '--show-error', '--proto', '=https', '--output', $new, "$server{{clients}}$name")
    if ($pin) { $arguments += '--insecure', '--pinnedpubkey', "sha256//$pin" }
    Invoke-Checked "$system\curl.exe" $arguments
}
if ((Get-FileHash -Algorithm SHA256 -LiteralPath $new).Hash -ne $sum) {
    Remove-Item -LiteralPath $new
    throw "$name is not the file that the server had when this script was made. Nothing was installed."
}

# The service's folder is the system's and the administrators' alone. Everybody may
# make one by that name: theirs is not used.
$data = "$env:ProgramData\Backstay"
if (Test-Path -LiteralPath $data) {
    $owner = (Get-Acl -LiteralPath $data).GetOwner([Security.Principal.SecurityIdentifier]).Value
    if ($owner -notin 'S-1-5-18', 'S-1-5-32-544') { throw "$data belongs to $owner. Remove it, then try again." }
} else {
    New-Item -ItemType Directory -Path $data | Out-Null
}
Invoke-Checked "$system\icacls.exe" @($data, '/setowner', '*S-1-5-32-544', '/q')
Invoke-Checked "$system\icacls.exe" @($data, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F', '/q')

$there = Get-Service -Name backstay -ErrorAction SilentlyContinue
if ($there) { Stop-Service -Name backstay -Force }
Move-Item -LiteralPath $new -Destination $program -Force
if (-not $there) { Invoke-Checked $program @('service', 'install') }
Invoke-Checked $program @('service', 'start')

[IO.File]::WriteAllText("$data\deploy.toml", @'
{{.TOML}}'@)
Invoke-Checked $program @('deploy', '--config', "$data\deploy.toml")
