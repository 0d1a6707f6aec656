"""What a bundle must be beside whole and signed: for this profile, for this device, with what it declares."""

from __future__ import annotations

from pathlib import Path

from edge.bundle.install.outcome import WrongTargetError
from edge.bundle.install.rules import Build
from edge.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest
from edge.bundle.open import DeviceFacts, OpenBundle, check_device, open_folder
from edge.bundle.signing import Trust
from edge.bundle.tree import read_small
from edge.errors import BundleError, EdgeError

# What a declared feature promises to bring; a feature that this edge does not know was refused before.
PROMISED = {
    "chat-template-1": ("tokenizer/tokenizer.json", "tokenizer/chat_template.jinja"),
    "golden-1": ("golden/cases.json",),
}
CLINICAL_GOLDEN = "golden/clinical.json"  # of tasks-2, where there are tasks


def passed_here(opened: OpenBundle) -> bool | None:
    """What this device's own results in a slot say: the newest of each device class; None where there is none."""
    newest = [one for one in opened.attestations if opened.attestation_for(one.device_class) is one]
    return all(one.passed for one in newest) if newest else None


def whole(folder: Path, trust: Trust) -> OpenBundle | None:
    """A slot that opens with everything checked; None for anything less."""
    try:
        return open_folder(folder, trust, check_files=True)
    except EdgeError:
        return None


def listed(folder: Path) -> Build | None:
    """The build that a slot's manifest names, unchecked: only to be shown."""
    try:
        data = read_small(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES)
        return Build(Manifest.from_bytes(data).bundle_digest)
    except EdgeError:
        return None


def profile_of(manifest: Manifest) -> str:
    """The profile whose slots a bundle belongs into."""
    return str(manifest.profile.get("name", manifest.name))


def check_profile(manifest: Manifest, profile: str, where: str) -> None:
    """Errors: WrongTargetError for a bundle of another profile: the app would ask it for the wrong tasks."""
    if profile_of(manifest) != profile:
        raise WrongTargetError(
            f"is a bundle of the profile '{profile_of(manifest)[:60]}', not of '{profile}'",
            where=where,
            mend="install it into its own slots",
        )


def check_target(manifest: Manifest, device: DeviceFacts | None, where: str) -> None:
    """Errors: WrongTargetError for a bundle that was built for another device."""
    if device is None:
        return
    try:
        check_device(manifest, device, where)
    except BundleError as error:
        raise WrongTargetError(error.what, where=error.where, mend=error.mend) from error


def check_features(manifest: Manifest, where: str) -> None:
    """Every declared feature brings its files; a self-test could else pass by testing less. Errors: BundleError."""
    paths = {entry.path for entry in manifest.files}
    wanted = [path for feature in manifest.required_features for path in PROMISED.get(feature, ())]
    if "tasks-2" in manifest.required_features and any(path.startswith("tasks/") for path in paths):
        wanted.append(CLINICAL_GOLDEN)
    for path in wanted:
        if path not in paths:
            raise BundleError(
                f"declares what it does not bring ({path} is missing)", where=where, mend="build the bundle again"
            )
