"""Site profiles: what is accepted, what is refused, and what the refusal says."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from slurm.limits import check_request
from slurm.site import Limits, Site, load_site, seconds, site_from, site_names


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("option", ["-c 4", "image", "--ntasks=4", "--jobid", "--a\nb"])
def test_srun_options_that_the_script_decides(option: str) -> None:
    with pytest.raises(ValueError, match="srun_options"):
        Site("x", srun_options=(option,))


@pytest.mark.parametrize("name", site_names())
def test_every_profile_that_we_ship_loads_and_asks_for_what_it_grants(name: str) -> None:
    site = load_site(name)
    assert site.name == name
    assert site.description
    check_request(site)


def test_examples_for_a_small_and_a_large_site_exist() -> None:
    assert {"default", "small", "large"} <= set(site_names())
    large = load_site("large")
    assert (large.nodes, large.gpus_per_node, large.tasks) == (2, 8, 16)


def test_a_profile_by_path_takes_its_file_name(tmp_path: Path) -> None:
    path = write(tmp_path / "our-cluster.toml", 'partition = "gpu"\n[limits]\nnodes = 3\n')
    site = load_site(path)
    assert (site.name, site.partition, site.limits.nodes) == ("our-cluster", "gpu", 3)


def test_the_environment_names_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLOX_SITE", write(tmp_path / "mine.toml", 'account = "me"'))
    assert load_site().account == "me"
    assert load_site("small").name == "small"
    monkeypatch.delenv("YOLOX_SITE")
    assert load_site().name == "default"


def test_an_unknown_site_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no site 'nowhere'; choose one of: default, large, small"):
        load_site("nowhere")


def test_an_unknown_key_is_told_the_valid_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.toml", 'partitoin = "gpu"')
    with pytest.raises(ValueError, match=r"bad.toml: unknown key 'partitoin'; did you mean partition\?"):
        load_site(path)
    path = write(tmp_path / "bad.toml", "[limits]\ngpus = 3")
    with pytest.raises(ValueError, match=r"unknown key .limits\.gpus.; valid keys: limits\.gpus_per_node, "):
        load_site(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("partition = 3", "partition must be a string, not 3"),
        ('nodes = "2"', "nodes must be a whole number, not '2'"),
        ("nodes = true", "nodes must be a whole number, not True"),
        ("nodes = 1.5", "nodes must be a whole number, not 1.5"),
        ("nodes = 0", "nodes and cpus_per_gpu must be at least 1"),
        ("gpus_per_node = -1", "gpus_per_node must not be negative"),
        ("tflops_per_gpu = 'fast'", "tflops_per_gpu must be a number"),
        ('modules = "cuda"', "modules must be a list of strings"),
        ("modules = [1]", r"modules\[0\] must be a string, not 1"),
        ("variables = 'A=1'", "variables must be a table of strings"),
        ("[variables]\nA = 1", r"variables\.A must be a string, not 1"),
        ("[variables]\n'A B' = '1'", "'A B' is no name of an environment variable"),
        ("limits = 3", "limits must be a table"),
        ("time_limit = 'long'", "time_limit must be a Slurm time"),
        ("time_limit = '2'\nsignal_lead = 120", "signal_lead .120 s. must be shorter than time_limit"),
        ("signal_lead = 0", "signal_lead must be 1 to 65535 seconds"),
        ("memory = 'lots'", "memory must be a size"),
        ("options = ['-p gpu']", "options is '-p gpu'"),
        ("options = ['constraint']", "must be a long sbatch option"),
        ("options = ['--array=0-3']", "--array is decided by the script"),
        ("partition = 'gpu test'", "partition is 'gpu test'"),
        ("partition = 'gpu\\n#SBATCH --uid=0'", "partition is"),
        ('account = "a\\n#SBATCH --uid=0"', "account is"),
        ('coco = "/data\\nrm -rf /"', "coco must not contain line breaks"),
        ("partition = ", "is not valid TOML"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        load_site(write(tmp_path / "bad.toml", text))
    assert "bad.toml" in str(caught.value)


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    assert load_site(write(tmp_path / "a.toml", "tflops_per_gpu = 40")).tflops_per_gpu == 40.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 300),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("1-0", 86400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("2-01:02:03", 176523),
    ],
)
def test_slurm_times(text: str, expected: int) -> None:
    assert seconds(text) == expected


def test_a_site_survives_json() -> None:
    for name in site_names():
        site = load_site(name)
        assert site_from(json.loads(json.dumps(asdict(site))), name, "here") == site


def test_every_key_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "slurm.md").read_text()
    undocumented = [f.name for f in fields(Site) if f.name != "name" and f"`{f.name}`" not in page]
    assert undocumented == []


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({"gpus_per_node": 8}, "gpus_per_node = 8, but a node has 4 GPUs"),
        ({"nodes": 3}, "nodes = 3, but a job may have 2"),
        ({"time_limit": "2-0"}, "time_limit = 2-0, but a job may last 1-00:00:00"),
    ],
)
def test_an_over_request_names_the_limits(request_: dict[str, object], complaint: str) -> None:
    limits = Limits(gpus_per_node=4, nodes=2, time_limit="1-00:00:00")
    check_request(Site("here", limits=limits, gpus_per_node=4, nodes=2, time_limit="24:00:00"))
    with pytest.raises(ValueError, match=complaint) as caught:
        check_request(Site("here", limits=limits, **request_))  # type: ignore[arg-type]
    assert "4 GPUs per node, 2 nodes, time limit 1-00:00:00" in str(caught.value)


def test_without_known_limits_nothing_is_refused() -> None:
    check_request(Site("here", gpus_per_node=1000, nodes=1000))
