"""Which comparisons with the reference say something about which component, and the file that keeps the outcome.

    UFLOW_PARITY=uflow/parity.json python -m pytest tests/goldens/test_parity.py && python -m uflow.table README.md

compares everything and writes the file that the table of components is made with; with `-k FILE` only what the golden
file says is compared and written anew.
"""

import hashlib
import json
import pathlib
import re

from goldens.totals import PHOTO

STORED = pathlib.Path(__file__).parents[2] / "uflow" / "parity.json"
TERMS = {
    "census": "photometric/census",
    "ssim": "photometric/ssim",
    "smooth1": "smoothness/first_order",
    "smooth2": "smoothness/second_order",
    "selfsup": "selfsup/teacher_student",
}
SCALARS = {"l1": "l1", "robust_l1": "charbonnier", "abs_robust": "ddflow"}


def components_of(name, entry, key):
    """The components, `axis/name`, that a comparison under `key` of a file is about."""
    if name == "losses_basic":
        if match := re.fullmatch(r"scalar/(l1|robust_l1|abs_robust)(_alt)?(_grad)?", key):
            return [f"photometric/{SCALARS[match[1]]}"]
        if match := re.match(r".+/(census|soft_hamming|zero_mask_border|ssim)_", key):
            return [TERMS["ssim" if match[1] == "ssim" else "census"]]
    elif name == "smoothness":
        if match := re.match(r".+/(smooth\d)_", key):
            return [TERMS[match[1]]]
    elif name in ("occlusion", "inference"):
        if match := re.fullmatch(r"(?:.+/)?(?:not_)?occ_(.+?)(?:_fw|_bw)?", key):
            if match[1].endswith("_inactive"):
                return ["occlusion/none"]
            return ["occlusion/" + re.sub(r"uflow.+", "uflow", match[1])]  # uflow1000 has other weights
    elif name == "normalize_cost":
        return ["normalization/center_scale"] if "/norm" in key else []
    elif name == "selfsup_transforms":
        return ["selfsup/teacher_student"]
    elif name == "total_loss":
        return _of_term(entry, key)
    elif entry.get("flow_kwargs", {}).get("normalize_before_cost_volume") is False:
        return ["normalization/none"] if key.startswith("flow") else []
    return []


def _of_term(entry, key):
    match = re.fullmatch(r"(v\w+)/(?:loss|grad)/(\w+?)(?:/\w+)?", key)
    if not match or match[2] == "total":
        return []
    variant, term = entry["variants"][match[1]], match[2]
    distances = entry["defaults"]["distance_metrics"] | variant.get("distance_metrics", {})
    own = f"photometric/{PHOTO[distances['photo']]}" if term == "photo" else TERMS[term]
    occlusion = "ground_truth" if variant.get("gt") else variant["occ"]
    return [own] + ([f"occlusion/{occlusion}"] if term in ("photo", "census") else [])


def summary(golden):
    """Number of comparisons and worst error by component, of a file that was compared."""
    found = {}
    for key, error in golden.errors:
        for component in components_of(golden.name, golden.entry, key):
            cases, worst = found.get(component, (0, 0.0))
            found[component] = cases + 1, max(worst, float(error))
    return found


def digest(golden):
    """Names the content of a file."""
    return hashlib.sha256((golden.directory / f"{golden.name}.npz").read_bytes()).hexdigest()[:16]


def cases_stored(golden):
    """Number of comparisons by component as the file has them; `None` if it was made with another golden."""
    known = json.loads(STORED.read_text())
    if known["goldens"].get(golden.name) != digest(golden):
        return None
    return {c: files[golden.name][0] for c, files in known["components"].items() if golden.name in files}


def update(path, compared):
    """Puts rows of (golden file, digest, summary) into the file, in place of what it has of these golden files."""
    path = pathlib.Path(path)
    plain = json.loads(path.read_text()) if path.exists() else {"goldens": {}, "components": {}}
    for name, given, found in compared:
        plain["goldens"][name] = given
        for files in plain["components"].values():
            files.pop(name, None)
        for component, (cases, worst) in found.items():
            plain["components"].setdefault(component, {})[name] = [cases, float(f"{worst:.1e}")]
    plain["components"] = {component: files for component, files in plain["components"].items() if files}
    text = json.dumps(plain, indent=1, sort_keys=True)
    path.write_text(re.sub(r"\[\s+(\S+),\s+(\S+)\s+\]", r"[\1, \2]", text) + "\n")  # a pair is a line
