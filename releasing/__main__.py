"""`python -m releasing`: build and check a release into `dist`. The exit status is 1 if something must be changed."""

import argparse
import shutil
import sys
from pathlib import Path

from releasing.bill_of_materials import bill_of_materials, check_bill
from releasing.distributions import build, check_clean, commit_time, write_sums
from releasing.trial import try_wheel
from releasing.version import ROOT, NotReady, check_tag, version_of_project


def main() -> int:
    """Run all steps, and say what each has found."""
    parser = argparse.ArgumentParser(prog="python -m releasing", description=__doc__)
    parser.add_argument("--tag", help="the tag of a release, such as v1.2.3; without it this is a trial")
    parser.add_argument("--no-trial", action="store_true", help="do not install the wheel and use it")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the files go; it is emptied first")
    options = parser.parse_args()
    try:
        release(options.out, tag=options.tag or None, trial=not options.no_trial)
    except NotReady as error:
        print(f"not released: {error}", file=sys.stderr)
        return 1
    return 0


def release(out: Path, *, tag: str | None, trial: bool) -> None:
    """Build everything into a folder. With a tag, the checkout must be clean and ready to be released under it.

    Raises:
        NotReady: something must be changed first.
    """
    if tag is not None:
        check_tag(tag)
        check_clean()
    version, epoch = version_of_project(), commit_time()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    built = build(out, epoch=epoch)
    print(f"built twice, with the same bytes: {', '.join(path.name for path in built)}")
    bill = out / f"graph-agent-{version}.cdx.json"
    text = bill_of_materials(epoch=epoch)
    check_bill(text)
    bill.write_text(text, encoding="utf-8")
    write_sums([*built, bill], out / "SHA256SUMS")
    print(f"wrote the bill of materials: {bill.name}")
    if trial:
        [wheel] = (path for path in built if path.suffix == ".whl")
        try_wheel(wheel, version=version)
        print("installed the wheel with the locked packages, and wrote a project with it")
    print(f"{tag or 'a trial without a tag'}: everything is in {out}")


if __name__ == "__main__":
    sys.exit(main())
