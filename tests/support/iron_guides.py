"""The IronWorker guides of the reference folder beside the checkout; their text stands in no file here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[3] / "shared" / "spec" / "guides"
#: what the guides' workers write around their result.
SEPARATOR = "MAGICALSTDOUTSEPARATOR"


def guide(number: str) -> str:
    """Return the text of a guide; skip the running test where the folder is not there."""
    texts = [path.read_text(encoding="utf-8") for path in GUIDES.glob(f"{number}_*.txt")]
    if not texts:
        pytest.skip("the reference folder with the guides is not here")
    return texts[0]


def printed_blocks(text: str, language: str) -> list[str]:
    """Return the blocks of a guide in a language, as they are printed."""
    return re.findall(rf"{{% highlight {language} %}}\n(.*?){{% endhighlight %}}", text, re.DOTALL)


def block_with(text: str, language: str, *words: str) -> str:
    """Return the one block that has all these words."""
    (found,) = [one for one in printed_blocks(text, language) if all(word in one for word in words)]
    return found


def for_python_3(text: str) -> str:
    """Return a script with its print statements changed, and nothing else."""
    return re.sub(r"^( *)print (.+)$", r"\1print(\2)", text, flags=re.MULTILINE)


def filled_in(text: str, token: str, project: str) -> str:
    """Return a script with a token and a project where the guide says to put them."""
    for blank in (" ", "_"):
        text = text.replace(f"INSERT{blank}TOKEN{blank}HERE", token)
    return text.replace("INSERT PROJECT_ID HERE", project).replace("INSERT_PROJECT_ID_HERE", project)


def sequence(limit: int) -> list[int]:
    """Return what the guides' workers count: 1, 1, 2, 3 and so on, below a limit."""
    found, last, next_one = [], 0, 1
    while next_one < limit:
        found.append(next_one)
        last, next_one = next_one, last + next_one
    return found


def sequence_in(log: str) -> list[int]:
    """Return the sequence that a worker has written between two separators."""
    found: list[int] = json.loads(log.split(SEPARATOR)[1])
    return found
