"""Run by the Python that has Tibanna, in a folder of its own: `python tibanna_run.py JOB.json`.

Makes of a job description what an instance of Tibanna's gets, and leaves it in that folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

from awsf3.utils import decode_run_json  # type: ignore[import-not-found]
from tibanna import ec2_utils  # type: ignore[import-not-found]


def instance_types(InstanceTypes: list[str]) -> dict[str, object]:  # noqa: N803  # boto3's name
    """What EC2 says of instance types."""
    return {
        "InstanceTypes": [
            {
                "InstanceType": name,
                "EbsInfo": {"EbsOptimizedSupport": "default"},
                "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
            }
            for name in InstanceTypes
        ]
    }


def main(path: str) -> None:
    """Write job.run.json and the files that awsf3 makes of it; print the configuration as JSON."""
    job = json.loads(Path(path).read_text())
    ec2_utils.UnicornInput(json.loads(json.dumps(job)))
    with patch.object(ec2_utils.boto3, "client") as client:
        client.return_value.describe_instance_types = instance_types
        execution = ec2_utils.Execution(job, dryrun=True)
        run = execution.create_run_json_dict()
        execution.launch_template_name = "template"
        fleet = execution.create_fleet_spec()
    Path("job.run.json").write_text(json.dumps(run))
    decode_run_json("job.run.json")
    print(json.dumps({"config": run["config"], "fleet": fleet}))


if __name__ == "__main__":
    main(sys.argv[1])
