"""Every code of a diagnostic, with what it means and how to mend it; codes are a promise to programs."""

from collections.abc import Mapping
from typing import NamedTuple


class Code(NamedTuple):
    """What a code means, and what to do about it, each in a sentence or two."""

    meaning: str
    remedy: str


OF_FILES: Mapping[str, Code] = {
    "api-version": Code(
        "The apiVersion is not one that is known, or a typing mistake of it.", "Write `reconciler/v1`."
    ),
    "bad-condition": Code(
        "A condition is success, failure, always or an expression.",
        "Write one of the three words, or one expression in `${{ … }}`.",
    ),
    "bad-cron": Code(
        "A cron expression cannot be read.", "Give five fields: minute, hour, day, month, day of the week."
    ),
    "bad-duration": Code(
        "A duration is not written as 500ms, 15s, 1h30m or 7d.", "Give each number its unit; 90 seconds are `90s`."
    ),
    "bad-location": Code(
        "The fields of an execution location contradict each other.",
        "A pool belongs to `runOn: workerPool`, `targetTags` to `runOn: targets`, `onBehalfOf` to the other two.",
    ),
    "bad-name": Code(
        "A name holds letters that names do not have, or is the built-in worker's.",
        "Names of objects are 1 to 63 lower-case letters, digits and hyphens; put other words into `displayName`.",
    ),
    "bad-path": Code(
        "A path leads out of the space, or is not printable text.",
        "Name files relative to the space's root, without `..`; rename files whose names are no text.",
    ),
    "bad-percentage": Code("A percentage is not written as 25%.", "Write a whole number from 0 to 100 and `%`."),
    "bad-removals": Code("maxRemovals is neither a number nor a percentage.", "Write `3` or `25%`."),
    "bad-rename": Code(
        "renamedFrom stands where nothing can be renamed.", "Write it at the worker of the set that had another name."
    ),
    "bad-requirement": Code(
        "What is required of a capability cannot be read: a comparison names no version.",
        "Write `>=1.5`, several comparisons with commas, an equal value, or `*`.",
    ),
    "bad-secret": Code(
        "A secret does not name exactly one source.",
        "Keep one of `env`, `file`, `age`, `command`, or `source` together with `key`.",
    ),
    "bad-size": Code("A size is not written as 64KiB, 100MiB or 2GB.", "Give the number its unit."),
    "bad-subscription": Code(
        "A subscription is not written as poll:// and an identity.", "Copy it from where the agent printed it."
    ),
    "bad-tag": Code("A tag is not written as tagset/tag.", "Put the name of its set and a slash before it."),
    "bad-thumbprint": Code(
        "A thumbprint is not SHA256: and unpadded base64.", "Copy it from where the agent printed it, all 50 letters."
    ),
    "bad-timezone": Code("The name of a time zone is not known.", "Write a name such as `UTC` or `Europe/Berlin`."),
    "bad-value": Code("A value lies outside of what the field takes.", "The message says what it takes."),
    "bad-variable": Code(
        "A variable does not have exactly one of value and values.",
        "Keep `value` for one that holds everywhere, `values` for several with scopes.",
    ),
    "complex-key": Code("A key is a list or a mapping.", "Keys are texts; put the list into the value."),
    "control-character": Code(
        "A character cannot stand in YAML, such as NUL.",
        "Delete it, or write it as an escape in double quotes; NUL cannot stand there either.",
    ),
    "duplicate-key": Code(
        "A key stands twice in one mapping.", "Remove one of them. Where two documents run together, put `---` between."
    ),
    "exactly-one": Code("Of several keys exactly one is needed.", "Keep one of those that the message names."),
    "file-too-large": Code("A file has more bytes than are read.", "Split it, or exclude it in the Space."),
    "link": Code(
        "A symbolic link or a submodule stands where a file is read; it is never followed.",
        "Put the file itself there, or exclude the path in the Space.",
    ),
    "merge-key": Code(
        "The merge key << is not part of YAML 1.2.", "Write the fields out, or give whole values anchors and use those."
    ),
    "misplaced-space": Code(
        "A Space stands elsewhere than in reconcile.yaml at the root.",
        "Move it there; each space has a root of its own.",
    ),
    "missing-action": Code("A step has no action.", "Give it one, such as `script`."),
    "missing-api-version": Code(
        "A document looks like one of ours and has no apiVersion.", "Begin it with `apiVersion: reconciler/v1`."
    ),
    "missing-key": Code("A key that is needed is not there.", "Add it; the message says what it is for."),
    "not-utf8": Code("The bytes of a file are not UTF-8.", "Save the file as UTF-8."),
    "not-yet-available": Code("An action is named that is still to come.", "Use a script until it is there."),
    "recursive-alias": Code("An alias stands inside of what it names.", "Write the value out."),
    "second-space": Code("A space has one Space.", "Join both documents into one."),
    "syntax": Code(
        "The text is not YAML.", "The message says what is expected at the mark; look at the line above too."
    ),
    "tab": Code("A tab indents a line.", "Indent with spaces."),
    "tag": Code("A YAML tag is used.", "Leave it out; the field itself says what it takes."),
    "too-deep": Code("Lists and mappings are nested deeper than is read.", "No field needs more than twenty levels."),
    "too-many-documents": Code("A file has more documents than are read.", "Split the file."),
    "too-many-nodes": Code("A file has more values than are read, aliases written out.", "Split the file."),
    "two-actions": Code("A step has more than one action.", "Make a step of each."),
    "undefined-alias": Code(
        "An alias names no anchor above it.", "Anchors hold within one document; write the value out."
    ),
    "unknown-key": Code(
        "A key is not known where it stands.",
        "Mend the slip, move the key to where the help says that it belongs, or remove it.",
    ),
    "unknown-kind": Code("There is no such kind.", "Mend the slip; the docs list the kinds."),
    "wrong-type": Code(
        "A value is of another type than the field takes; nothing is coerced.",
        'Write what the message asks for; an empty text is `""`.',
    ),
}
"""What a file by itself can earn."""

OF_OBJECTS: Mapping[str, Code] = {
    "ambiguous-variable": Code(
        "Two values of a variable hold at once, and neither is more specific.", "Narrow the scope of one, or remove it."
    ),
    "bad-parameter": Code(
        "A parameter of a step template is missing, unknown, or does not fit its type.",
        "Compare the step's `with` with the template's `parameters`.",
    ),
    "bad-pattern": Code("workerNames is not a regular expression.", "Mend the expression; Python's syntax holds."),
    "bad-template": Code(
        "An expression in `${{ … }}` cannot be read, or uses what templates do not have.",
        "Mend it as the message says; the page on templates lists what there is.",
    ),
    "cycle": Code(
        "Deployments wait for each other, or the value of a variable needs itself.", "Break the circle at one place."
    ),
    "duplicate-identity": Code(
        "Two objects claim one machine: the same address, subscription or thumbprint.",
        "Declare a machine once. A worker and a target may share it when all endpoint fields agree.",
    ),
    "duplicate-name": Code("Two objects of one kind have one name.", "Rename one of them, or remove it."),
    "duplicate-slot": Code(
        "Two deployments are for one project, environment and tenant.", "Keep one, or give each tenants of its own."
    ),
    "duplicate-step": Code("Two steps of a process have one id.", "Give one another name, or an `id` of its own."),
    "duplicate-variable": Code(
        "One object declares a variable twice.", "Write both values under one `values`, each with its scope."
    ),
    "emptied-file": Code(
        "Live objects came from a file in which no document of ours is left: it was cut or overwritten.",
        "Bring its documents back. Where they are to go, delete the file; where they have moved, declare them there.",
    ),
    "empty-pool": Code(
        "A pool is used that has no workers.",
        "Declare a worker in it; until then its steps cannot run. An agent enrols, and prints the worker to declare, while `reconcile serve --agents` runs.",
    ),
    "environment-not-allowed": Code(
        "Something is to run in an environment that its project or runbook does not allow.",
        "Add the environment to the project's or runbook's `environments`, or choose another.",
    ),
    "few-workers": Code("A pool has fewer workers than its minWorkers.", "Declare more, or lower `minWorkers`."),
    "lonely-worker": Code("A pool that serves production has one worker.", "Declare a second one, to go on with."),
    "missing-file": Code(
        "A file that a field names is not there.", "Paths are relative to the space's root; is the file committed?"
    ),
    "nested-template": Code(
        "The action of a step template is itself a template or a group, or asks a person.",
        "Give it an action such as `script`; a manual step stands in the process itself.",
    ),
    "no-effect": Code(
        "A setting stands at a step whose type has no use for it.", "Remove it, or give it to the step that it is for."
    ),
    "no-label": Code(
        "No worker in a step's pool bears the labels that the step asks for.", "Label a worker, or ask for less."
    ),
    "no-target": Code(
        "No declared target bears a tag that a step chooses targets by.", "Tag a target, or mend the tag."
    ),
    "no-worker": Code(
        "Every worker in a step's pool bears other labels than the step asks for, or declares other capabilities.",
        "Label a worker so, add one, or ask for what one of them has.",
    ),
    "not-a-template": Code(
        "An expression stands in a field that is no template and would stay as it is.", "Write the value itself."
    ),
    "odd-name": Code("A worker's name does not match the space's workerNames.", "Rename it, with `renamedFrom`."),
    "own-host": Code(
        "A worker is the server's own machine.",
        "Use another machine: what runs there may read what the server keeps. The built-in worker is for trials.",
    ),
    "pinned-package": Code(
        "A deployment overrides a version that a step pins.", "Remove the `version` from the step, or the override."
    ),
    "pool-scope": Code(
        "A worker-pool variable is scoped to a target; its pool is chosen before any target.",
        "Scope it to environments, tenants, tenant tags, steps or processes.",
    ),
    "rename-conflict": Code(
        "An object says that it was called otherwise, and the other is still declared, or a third one says the same.",
        "Remove the old document, or the `renamedFrom` line.",
    ),
    "required-step": Code("A deployment skips a step that is required.", "Run the step, or lift `required`."),
    "second-default-policy": Code("Two machine policies are the default.", "Keep `default: true` at one."),
    "second-default-pool": Code("Two pools are the default.", "Keep `default: true` at one."),
    "secret-in-clear": Code(
        "A sensitive value is written down, or would be seen where a template puts it.",
        "Name where it comes from, and pass it to steps in `env`.",
    ),
    "shell-on-windows": Code(
        "A bash or sh script may come to a worker that is labelled os=windows.",
        "Select workers by `selector`, or keep such machines in a pool of their own.",
    ),
    "source-not-allowed": Code(
        "A plain variable comes from a source that only sensitive ones have.", "Make it sensitive, or use `env`."
    ),
    "step-without-id": Code("No id can be made of a step's name.", "Write an `id` of lower-case letters and hyphens."),
    "tenant-not-connected": Code(
        "A deployment is for a tenant that does not take its project in its environment.",
        "Add project and environment to the tenant's `projects`.",
    ),
    "too-long": Code(
        "An environment value is longer than Linux passes to a program.", "Put it into a file or a package."
    ),
    "unknown-name": Code(
        "A template names a variable, parameter, step or field that is not there.", "Mend the name, or declare it."
    ),
    "unknown-reference": Code("A field names an object that is not declared.", "Mend the name, or declare the object."),
    "unknown-step": Code("A field names a step that its process does not have.", "Use the step's id."),
    "unknown-tag": Code("A tenant tag is not one of a declared TagSet.", "Mend it, or add it to the set."),
    "unknown-variable": Code(
        "A location takes its pool from a variable that is not there, or not of type workerPool.",
        "Mend the name, or give the variable `type: workerPool`.",
    ),
    "unquoted-value": Code(
        "A script's text takes in a value that its language could take for code.",
        "Pass the value in `env`, or put it through the filter that the message names.",
    ),
    "variable-prefix": Code(
        "The name of a variable is the dotted beginning of another's.",
        "Rename one: templates could not tell them apart.",
    ),
}
"""What shows only between objects, or between objects and files."""

CODES: Mapping[str, Code] = {**OF_FILES, **OF_OBJECTS}
