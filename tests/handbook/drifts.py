"""Drifts to be planted in a copy of the repository, of every class that the gate tells."""

from dataclasses import dataclass

COPIED = ("massgen", "examples", "handbook", "tests", "benchmarks", ".ci", ".github", "README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "mkdocs.yml", "pyproject.toml")  # fmt: skip
"""All that the gate looks at."""


@dataclass(frozen=True, slots=True)
class Drift:
    """An edit that makes a page untrue: `old` becomes `new` in `file`, or a file of `new` comes up; the gate must then name
    `place` and `kind`."""

    name: str
    file: str
    old: str
    new: str
    place: str
    kind: str
    run: str = ""
    """The page whose commands show it, where only running shows it."""


DRIFTS = [
    Drift("a renamed flag", "massgen/commands/options.py", '"--no-display"', '"--no-view"', "handbook/guides/asking.md", "flag"),
    Drift("a new option", "massgen/commands/models.py", '@command.command("path")', '@command.command("path")\n@click.option("--far")', "handbook/reference/command-line.md", "generated"),
    Drift("a changed default", "massgen/config/__init__.py", "patience_seconds: Seconds = 120", "patience_seconds: Seconds = 90", "handbook/reference/configuration.md", "generated"),
    Drift("a renamed key", "massgen/config/__init__.py", "    voting_sensitivity:", "    vote_sensitivity:", "handbook/guides/configure.md", "configuration"),
    Drift("a removed type of backend", "massgen/config/__init__.py", '"openai", ', "", "README.md", "configuration"),
    Drift("a new key", "massgen/config/__init__.py", "    voting_sensitivity:", '    new_key: int = 1\n    """Something."""\n    voting_sensitivity:', "handbook/reference/configuration.md", "generated"),
    Drift("a new exit code", "massgen/errors.py", "    PARTIAL = 3", '    NEW = 4\n    """Something."""\n    PARTIAL = 3', "handbook/guides/errors.md", "exit code"),
    Drift("a new template", "examples/zzyzx.yaml", "", "# Purpose: something.\n# Needs: nothing\n# Cost: free\n# Try: massgen --config @examples/zzyzx \"?\"\nagents: [{backend: {type: local}}]\n", "handbook/reference/templates.md", "generated"),
    Drift("a new page", "handbook/guides/zzyzx.md", "", "# Something\n", "handbook/guides/zzyzx.md", "navigation"),
    Drift("a changed prompt", "massgen/prompts.py", "You are a critic.", "You are a judge.", "handbook/reference/prompts.md", "generated"),
    Drift("a changed fact", "massgen/events.py", '"""An agent voted for the answer `choice`; the vote counts while it saw every current answer."""', '"""Something else."""', "handbook/reference/facts.md", "generated"),
    Drift("an edited template", "examples/openai.yaml", "# Purpose: a team of three", "# Purpose: a team of four", "handbook/reference/templates.md", "generated"),
    Drift("a changed error text", "massgen/config/loading.py", "unknown key", "no such key", "handbook/guides/configure.md", "output", run="handbook/guides/configure.md"),
    Drift("a quoted error that changed", "massgen/backends/providers.py", "no key for ", "a key is missing for ", "handbook/guides/troubleshooting.md", "error text"),
    Drift("a bumped version", "massgen/__init__.py", '__version__ = "', '__version__ = "9', "handbook/start/install.md", "version"),
    Drift("a changed exit code", "massgen/errors.py", "PARTIAL = 3", "PARTIAL = 4", "handbook/guides/errors.md", "exit code"),
    Drift("a variable on no page", "massgen/paths.py", '"MASSGEN_HOME"', '"MASSGEN_ROOT"', "massgen/paths.py", "variable"),
    Drift("a module on no page", "massgen/zzyzx.py", "", '"""A module."""\n', "handbook/concepts/architecture.md", "module"),
    Drift("a false output", "handbook/start/install.md", "\nmassgen 0.", "\nmassgen: 0.", "handbook/start/install.md", "output", run="handbook/start/install.md"),
    Drift("a command that does not exist", "handbook/guides/configure.md", "config validate", "config check", "handbook/guides/configure.md", "command"),
    Drift("a dead link", "handbook/index.md", "start/install.md", "start/instal.md", "handbook/index.md", "link"),
    Drift("a dead anchor", "handbook/guides/asking.md", "(errors.md)", "(errors.md#4-more)", "handbook/guides/asking.md", "link"),
    Drift("a page that no navigation has", "mkdocs.yml", "      - guides/errors.md\n", "", "handbook/guides/errors.md", "navigation"),
    Drift("a moved page", "mkdocs.yml", "guides/migrate.md", "guides/moving.md", "handbook/guides/migrate.md", "navigation"),
    Drift("a broken diagram", "handbook/concepts/how-a-team-decides.md", "stateDiagram-v2", "stateDiagrm", "handbook/concepts/how-a-team-decides.md", "diagram"),
    Drift("an unknown kind of fence", "handbook/guides/configure.md", "```yaml title=\"base.yaml\"", "```ruby title=\"base.yaml\"", "handbook/guides/configure.md", "fence"),
    Drift("a YAML block of no model", "README.md", ' title="team.yaml"', "", "README.md", "yaml"),
    Drift("a misspelt setting", "handbook/concepts/how-a-team-decides.md", "`skip_voting`", "`skip_vote`", "handbook/concepts/how-a-team-decides.md", "name"),
    Drift("a setting in the wrong section", "handbook/concepts/how-a-team-decides.md", "`timeout_settings.turn_timeout_seconds`", "`orchestrator.turn_timeout_seconds`", "handbook/concepts/how-a-team-decides.md", "setting"),
    Drift("a template that does not exist", "handbook/start/first-run.md", "`@examples/quickstart`", "`@examples/quick`", "handbook/start/first-run.md", "template"),
    Drift("a retired model", "handbook/start/first-key.md", "model: gpt-6-luna", "model: gpt-3-luna", "handbook/start/first-key.md", "model"),
    Drift("a file that is gone", "handbook/concepts/architecture.md", "`massgen/state.py`", "`massgen/stats.py`", "handbook/concepts/architecture.md", "file"),
    Drift("a make target that is gone", "Makefile", "\nbench:", "\nmeasure:", "handbook/concepts/performance.md", "make"),
    Drift("a public name on no page", "massgen/__init__.py", '["Result", ', '["Outcome", "Result", ', "handbook/reference/api.md", "public name"),
    Drift("a stale notebook", "handbook/start/notebook.ipynb", "'Paris.'", "'Lyon.'", "handbook/start/notebook.ipynb", "notebook", run="handbook/start/notebook.ipynb"),
    Drift("an install line of somebody else's package", "README.md", '".[local]"', '"massgen[local]"', "README.md", "install"),
    Drift("an extra that is gone", "pyproject.toml", "\nlocal = [", "\nembedded = [", "handbook/start/install.md", "install"),
    Drift("a licence that is cited wrongly", "CITATION.cff", "Apache-2.0", "MIT", "CITATION.cff", "citation"),
    Drift("an action that is not pinned", ".github/workflows/release.yml", "download-artifact@37930b1c2abaa49bbe596cd826c3c89aef350131 # v7.0.0", "download-artifact@v7", ".github/workflows/release.yml", "workflow"),
    Drift("a workflow that does not parse", ".github/workflows/docs.yml", "jobs:", "jobs: [", ".github/workflows/docs.yml", "workflow"),
    Drift("a secret in a workflow", ".github/workflows/links.yml", "run: make docs", "run: make docs KEY=${{ secrets.KEY }}", ".github/workflows/links.yml", "workflow"),
    Drift("a right too many", ".github/workflows/ci.yml", "  contents: read", "  contents: write", ".github/workflows/ci.yml", "workflow"),
    Drift("a job without end", ".github/workflows/links.yml", "    timeout-minutes: 30\n", "", ".github/workflows/links.yml", "workflow"),
    Drift("a workflow of a target that is gone", "Makefile", "\ndocs:", "\nsite:", ".github/workflows/docs.yml", "workflow"),
    Drift("a Python that nobody tests", "pyproject.toml", "Python :: 3.11", "Python :: 3.10", ".github/workflows/ci.yml", "workflow"),
    Drift("Python that does not parse", "README.md", "import massgen\n", "import massgen as\n", "README.md", "python"),
]  # fmt: skip
