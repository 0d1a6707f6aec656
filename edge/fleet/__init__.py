"""The fleet: field results that are never lost, updates that are verified, rollouts that open on evidence."""

# The commands of `edge` that live here: "module:attribute" and the line in --help. Imported when they are asked for.
COMMANDS = {
    "agent": ("edge.fleet.agent.command:agent", "On a device: benchmarks, installs, results to the fleet."),
    "collector": ("edge.fleet.collector.command:collector", "Take in what devices report; serve the fleet's page."),
    "fleet": ("edge.fleet.dev.command:fleet", "Certificates, enrolment, broker; `dev` starts all of it here."),
    "install": ("edge.fleet.install.command:install", "Install a bundle into A/B slots, tested before it counts."),
    "repo": ("edge.fleet.updates.command:repo", "The signed repository that devices update from."),
    "rollout": ("edge.fleet.rollout.command:rollout", "Move a release out ring by ring, on evidence."),
}
