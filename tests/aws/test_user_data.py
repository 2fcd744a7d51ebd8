"""What an instance is told when it starts: AWS Batch merges the launch template's user data, a MIME
multi-part archive, with its own, and cloud-init reads the result part by part.
"""

from __future__ import annotations

import base64
import subprocess
from email import message_from_string
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from tests.support.cloud_init import boot
from tests.support.stack import Stack

CONFIG = "/etc/ecs/ecs.config"
OF_BATCH = f"#!/bin/bash\necho ECS_CLUSTER=a-cluster >> {CONFIG}\n"


def merged(user_data: str) -> str:
    """The archive that AWS Batch makes of its own part and the template's."""
    archive = MIMEMultipart()
    own = MIMEText(OF_BATCH, "x-shellscript", "us-ascii")
    for part in (own, *parts(user_data)):
        archive.attach(part)
    return archive.as_string()


def parts(user_data: str) -> list[Message]:
    """The parts of an archive, as cloud-init finds them."""
    archive = message_from_string(user_data)
    assert archive.is_multipart(), "AWS Batch takes nothing but a MIME multi-part archive"
    # Such as an end that is missing
    assert not archive.defects
    return [part for part in archive.walk() if not part.is_multipart()]


def scripts(user_data: str) -> list[str]:
    """The scripts that cloud-init runs, in their order."""
    found = []
    for part in parts(user_data):
        assert part.get_content_type() == "text/x-shellscript"
        assert not part.defects
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        script = content.decode("ascii")
        # cloud-init executes the file, so that without this line it would not run
        assert script.startswith("#!/bin/bash\n")
        found.append(script)
    return found


def configuration(user_data: str, folder: Path) -> dict[str, str]:
    """What the ECS agent's configuration holds once all scripts were run."""
    config = folder / "ecs.config"
    config.write_text("ECS_DATADIR=/data\n")
    for script in scripts(user_data):
        assert CONFIG in script
        ran = ["bash", "-euc", script.replace(CONFIG, str(config))]
        subprocess.run(ran, check=True, timeout=60)
    return dict(line.split("=", 1) for line in config.read_text().splitlines())


@pytest.fixture
def user_data(stack: Stack) -> str:
    """The template's user data."""
    return base64.b64decode(stack.launch_template()["UserData"]).decode("ascii")


def test_the_agent_is_configured_by_both_parts(user_data: str, tmp_path: Path) -> None:
    assert configuration(merged(user_data), tmp_path) == {
        "ECS_DATADIR": "/data",
        "ECS_CLUSTER": "a-cluster",
        "ECS_CONTAINER_STOP_TIMEOUT": "90s",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "true",
    }


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('boundary="==PYANAMO=="', 'boundary="==ANOTHER=="'),
        ("text/x-shellscript", "text/plain"),
        ("#!/bin/bash\n", ""),
        ("--==PYANAMO==--", ""),
    ],
)
def test_user_data_that_cloud_init_would_not_run_is_noticed(
    user_data: str, tmp_path: Path, good: str, bad: str
) -> None:
    assert good in user_data
    with pytest.raises(AssertionError):
        configuration(merged(user_data.replace(good, bad)), tmp_path)


def booted(user_data: str, folder: Path) -> dict[str, str]:
    """What the ECS agent's configuration holds once cloud-init itself has run."""
    config = folder / "ecs.config"
    config.write_text("ECS_DATADIR=/data\n")
    boot(user_data.replace(CONFIG, str(config)), folder / "cloud")
    return dict(line.split("=", 1) for line in config.read_text().splitlines())


def test_cloud_init_runs_both_parts(user_data: str, tmp_path: Path) -> None:
    by_ourselves = tmp_path / "by-ourselves"
    by_ourselves.mkdir()
    expected = configuration(merged(user_data), by_ourselves)
    assert booted(merged(user_data), tmp_path) == expected


@pytest.mark.parametrize(
    ("good", "bad"), [("text/x-shellscript", "text/x-another"), ("#!/bin/bash\n", "")]
)
def test_cloud_init_runs_no_part_that_it_does_not_know(
    user_data: str, tmp_path: Path, good: str, bad: str
) -> None:
    spoiled = merged(user_data).replace(good, bad)
    assert spoiled != merged(user_data)
    assert booted(spoiled, tmp_path) == {"ECS_DATADIR": "/data"}
