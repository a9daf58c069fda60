"""A checkout of a project of the user's own: files as it has committed them, and a branch with others in it.

The commit is made beside index and working tree, which may hold unfinished work; no hook of the checkout runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from matrix.errors import ConfigurationError, NotFoundError, OutsideError
from matrix.evidence.git import Git, RefusedError, writer


class Checkout:
    """A repository with a commit that is checked out. Raises NotFoundError where there is none."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise NotFoundError(
                f"{folder}: no such folder; --checkout names a git repository of yours"
            )
        try:
            top = Git(folder, within=True).text("rev-parse", "--show-toplevel").rstrip("\n")
            self._git = Git(Path(top))
            self.head = self._git.text("rev-parse", "--verify", "HEAD^{commit}").strip()
        except RefusedError as error:
            raise NotFoundError(
                f"{folder}: is no git repository with a commit ({error})"
            ) from error
        self.folder = Path(top)
        self.base = self._git.perhaps("symbolic-ref", "--quiet", "--short", "HEAD")

    def read(self, path: str) -> str | None:
        """Return a file as the checked out commit has it; None where it has none."""
        try:
            return self._git.text("cat-file", "blob", f"{self.head}:{path}")
        except RefusedError:
            return None

    def names(self, folder: str) -> tuple[str, ...]:
        """Name the files right in a folder of the checked out commit."""
        listed = self._git.perhaps("ls-tree", "-z", "--name-only", self.head, f"{folder}/")
        return tuple(name.rpartition("/")[2] for name in listed.split("\0") if name)

    def commit(self, branch: str, files: Mapping[str, str], message: str) -> str | None:
        """Commit files on a branch that starts from what is checked out; None where it stands so already.

        A branch of this program's own is made anew. Raises ConfigurationError for a name that git refuses, or where
        the branch has commits of somebody else's; OutsideError where git fails.
        """
        ref = f"refs/heads/{branch}"
        try:
            self._git.text("check-ref-format", ref)
        except RefusedError:
            raise ConfigurationError(f"{branch!r} is no name of a branch") from None
        try:
            return self._commit(ref, files, message)
        except RefusedError as error:
            raise OutsideError(f"{self.folder}: git: {error}") from error

    def _commit(self, ref: str, files: Mapping[str, str], message: str) -> str | None:
        tree = self._tree(files)
        there = self._git.perhaps(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
        if there:
            self._own(ref, there)
            standing = self._git.text("show", "--no-patch", "--format=%T %P", there).split()
            if standing == [tree, self.head]:
                return None
        made = self._git.text(
            "commit-tree", tree, "-p", self.head, "-F", "-", told=message, more=writer()
        ).strip()
        self._git.text("update-ref", ref, made, there or "0" * len(made))
        return made

    def _own(self, ref: str, tip: str) -> None:
        """Refuse a branch on which somebody else has worked."""
        told = self._git.text("log", "--format=%ae", tip, "--not", self.head)
        others = set(told.split("\n")) - {writer()["GIT_AUTHOR_EMAIL"], ""}
        current = self._git.perhaps("symbolic-ref", "--quiet", "HEAD")
        if others or current == ref:
            raise ConfigurationError(
                f"{ref.removeprefix('refs/heads/')}: that branch is checked out, or has commits of somebody else's; "
                "merge or remove it first"
            )

    def _tree(self, files: Mapping[str, str]) -> str:
        """Write the tree of what is checked out with other files in it."""
        with TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._git.text("read-tree", self.head, more=index)
            for path, content in files.items():
                blob = self._git.text(
                    "hash-object", "-w", "--no-filters", "--stdin", told=content
                ).strip()
                entry = f"100644,{blob},{path}"
                self._git.text("update-index", "--add", "--cacheinfo", entry, more=index)
            return self._git.text("write-tree", more=index).strip()
