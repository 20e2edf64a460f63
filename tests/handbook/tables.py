"""Generated pages that are lists: the templates, and the variables of the environment."""

from massgen import examples
from massgen.backends.providers import PROVIDERS
from tests.handbook.names import VARIABLES


def templates() -> list[str]:
    """The blocks of the gallery: every template with what it is for, and the file itself."""
    intro = (
        "These configurations ship with massgen and are run by its tests. Use one as it is, `--config @examples/NAME`, or "
        "`massgen examples copy NAME` and change the copy. `massgen examples list` tells the same as this page."
    )
    rows = [f"| [{name}](#{name.replace('/', '')}) | {examples.header(name).purpose} |" for name in examples.names()]
    return [intro, "\n".join(["| template | purpose |", "|---|---|", *rows]), *map(_template, examples.names())]


def _template(name: str) -> str:
    header = examples.header(name)
    return (
        f"## {name}\n\n{header.purpose}\n\n- **Needs:** {header.needs}\n- **Cost:** {header.cost}\n\n"
        f'```bash\n{header.attempt}\n```\n\n```yaml\n--8<-- "examples/{name}.yaml"\n```'
    )


def variables() -> list[str]:
    """The blocks of the page on the environment."""
    intro = (
        "A configuration takes a variable's value by `${NAME}`. The ones below massgen looks up by itself. They may stand in a "
        "file `.env` in the working directory, too; what is set in the environment goes first. An address of `.env` counts only beside a key of `.env`: "
        "what a folder brings along must not lead your keys elsewhere."
    )
    own = [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    keys = [
        f"| `{row.type}` | {_names(row.key_variables)} | {_names(row.url_variables)} | {_page(row.key_page)} |"
        for row in PROVIDERS.values()
        if row.key_variables or row.url_variables
    ]
    return [
        intro,
        "\n".join(["## massgen's own", "", "| variable | meaning |", "|---|---|", *own]),
        "## Providers\n\nOf several names the first that is set counts; `api_key` and `base_url` in a configuration go before all.",
        "\n".join(["| type | key | address | make a key |", "|---|---|---|---|", *keys]),
    ]


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _page(address: str) -> str:
    return f"[{address.removeprefix('https://').partition('/')[0]}]({address})" if address else ""
