# Speak to the worker from a script: outputs, artifacts, progress.

function Send-StepMessage([string]$Verb, [System.Collections.Specialized.OrderedDictionary]$Values) {
    $pairs = foreach ($key in $Values.Keys) { " $key=" + [uri]::EscapeDataString([string]$Values[$key]) }
    [Console]::Out.WriteLine("##reconcile[$env:RECONCILE_NONCE $Verb$(-join $pairs)]")
}
function Set-Output([string]$Name, [string]$Value, [switch]$Sensitive) {
    Send-StepMessage set_output ([ordered]@{ name = $Name; value = $Value; sensitive = "$Sensitive".ToLower() })
}
function Add-Artifact([string]$Path, [string]$Name = '') { Send-StepMessage add_artifact ([ordered]@{ path = $Path; name = $Name }) }
function Write-StepProgress([double]$Percent, [string]$Message = '') { Send-StepMessage progress ([ordered]@{ percent = $Percent; message = $Message }) }
function Set-LogLevel([string]$Level) { Send-StepMessage log_level ([ordered]@{ level = $Level }) }
function Hide-Value([string]$Value) { Send-StepMessage mask ([ordered]@{ value = $Value }) }
function Stop-Step([string]$Message) { Send-StepMessage fail ([ordered]@{ message = $Message }); exit 1 }

Export-ModuleMember -Function Set-Output, Add-Artifact, Write-StepProgress, Set-LogLevel, Hide-Value, Stop-Step
