"""The table of commands: each with the function that does it, imported when it is wanted.

A new command has a row here, and a module with a function that ``frame.definition.command`` made a
command of. The order is that of ``entrepot --help``.
"""

from entrepot.cli.frame.command_tree import Command

GROUPS = {
    "config": "the settings",
    "ca": "the local certificate authority",
}
"""Commands of two words: the first, and what it is about."""

COMMANDS = (
    Command("serve", "entrepot.cli.serve:serve", "run the proxy", "The proxy"),
    Command(
        "status",
        "entrepot.cli.running.status:status",
        "whether it runs, how it does, what it does now",
        "The proxy",
    ),
    Command(
        "stats", "entrepot.cli.running.stats:stats", "what it saved, and for whom", "The proxy"
    ),
    Command(
        "top", "entrepot.cli.running.top:top", "what goes on, live: a screen to watch", "The proxy"
    ),
    Command(
        "log",
        "entrepot.cli.running.log:log",
        "requests or pulls, what was answered and why",
        "The proxy",
    ),
    Command("ls", "entrepot.cli.images.ls:ls", "list the images that are cached", "Images"),
    Command(
        "show", "entrepot.cli.images.show:show", "show an image, and what it is made of", "Images"
    ),
    Command("rm", "entrepot.cli.images.rm:rm", "remove images from the cache", "Images"),
    Command("prune", "entrepot.cli.images.prune:prune", "remove images by rule", "Images"),
    Command(
        "verify", "entrepot.cli.images.verify:verify", "hash what is stored, find damage", "Images"
    ),
    Command("warm", "entrepot.cli.warm.command:warm", "pull images into the cache", "Images"),
    Command("export", "entrepot.cli.archive.export:export", "write images to an archive", "Images"),
    Command(
        "import", "entrepot.cli.archive.take_in:take_in", "take in images of an archive", "Images"
    ),
    Command("pin", "entrepot.cli.images.pin:pin", "keep images from being evicted", "Images"),
    Command(
        "unpin", "entrepot.cli.images.pin:unpin", "let pinned images be evicted again", "Images"
    ),
    Command(
        "doctor",
        "entrepot.cli.doctor.doctor:doctor",
        "check all that it depends on, with a fix for each finding",
        "Set-up",
    ),
    Command(
        "completion",
        "entrepot.cli.completion:completion",
        "a script for your shell, so that it completes commands and images",
        "Set-up",
    ),
    Command(
        "config check",
        "entrepot.cli.config.check:check",
        "find what is wrong, and say what is in force",
        "Set-up",
    ),
    Command(
        "ca show",
        "entrepot.cli.ca.show:show",
        "path, fingerprint, expiry and constraints",
        "Set-up",
    ),
    Command("ca create", "entrepot.cli.ca.create:create", "make a new authority", "Set-up"),
    Command(
        "ca rotate",
        "entrepot.cli.ca.rotate:rotate",
        "replace the authority without downtime",
        "Set-up",
    ),
    Command(
        "ca export",
        "entrepot.cli.ca.export:export",
        "write the certificates that clients are to trust",
        "Set-up",
    ),
    Command(
        "backup", "entrepot.cli.backup.backup:backup", "save what cannot be had again", "Set-up"
    ),
    Command("restore", "entrepot.cli.backup.restore:restore", "put a backup back", "Set-up"),
)
