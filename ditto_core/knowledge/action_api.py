"""Action API: pages by title from a live wiki.

Input:   titles and the `Source` of a MediaWiki Action API.
Output:  for every title its `Stored` page, or a reason, as `dump.pages_from_dump` gives them.
Source:  MediaWiki's API documentation: batches, redirects, continuation, maxlag and etiquette.

Example:
    dict(pages_from_api(["ada_Lovelace"], english, source, Snapshot(Path("ditto-data/revisions"))))

First the revision ids behind the titles are asked for, then the texts of those revisions that nobody has fetched yet: a
revision never changes, so its text is kept for good and a later run asks only for what was edited.
"""

import json
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.knowledge.snapshot import Snapshot
from ditto_core.knowledge.source import Answer, Source, TooHeavy, Weather
from ditto_core.knowledge.wikipedia import (
    MISSING,
    REDIRECT_TO_MISSING,
    TOO_LARGE,
    UNAVAILABLE,
    UNREADABLE,
    Site,
    Stored,
    default_site,
    licence_of,
)
from ditto_core.knowledge.wikis import CANONICAL
from ditto_core.languages import Language
from ditto_core.recipe import digest

_TITLES_PER_REQUEST = 50  # more are refused as "toomanyvalues"
_BUSY = frozenset({"maxlag", "ratelimited", "readonly"})
_FIXED = {"action": "query", "format": "json", "formatversion": "2", "maxlag": "5"}
_LISTING = {"redirects": "1", "prop": "revisions", "rvprop": "ids|timestamp"}
_CONTENT = {"prop": "revisions", "rvprop": "ids|content|contentmodel", "rvslots": "main"}

Json = Mapping[str, Any]


def pages_from_api(
    titles: Iterable[str], language: Language, source: Source, revisions: Snapshot
) -> Iterator[tuple[str, Stored | str]]:
    """Look titles up in a live wiki.

    Args:
        titles: As an endpoint or a person wrote them.
        language: Of the wiki.
        source: Of its api.php.
        revisions: Texts by revision, of any run.

    Yields:
        (title as it was asked for, page or reason), each title once, in their order.

    Raises:
        SourceUnavailable: The wiki stays busy or unreachable.
        InvalidInput: No Action API at this address, or it refuses the request.
    """
    wanted = list(dict.fromkeys(titles))
    api = _Api(source)
    site = _site(api, language) if wanted else default_site(language)
    for start in range(0, len(wanted), _TITLES_PER_REQUEST):
        batch = wanted[start : start + _TITLES_PER_REQUEST]
        listed = _Listed(api, [title for title in batch if _may_exist(title)])
        found = {title: listed.revision(title) for title in batch}
        texts = _Texts(api, revisions, [revision["id"] for revision in found.values() if not isinstance(revision, str)])
        for title, revision in found.items():
            yield title, revision if isinstance(revision, str) else _stored(revision, texts.get(revision["id"]), site)


def _may_exist(title: str) -> bool:
    """No wiki has a page without a name; a bar would split a title in two, a control character begins another list."""
    return bool(title.strip()) and "|" not in title and title.isprintable()


def _stored(revision: Mapping[str, str], text: Json | str, site: Site) -> Stored | str:
    if isinstance(text, str):
        return text
    return Stored(
        title=revision["title"],
        namespace=0,
        redirect="",
        revision=revision["id"],
        timestamp=revision["timestamp"],
        model=text["model"],
        text=text["text"],
        site=site,
    )


class _Api:
    """One wiki's API: what its answers mean."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def query(self, parameters: Mapping[str, str], *, whole: bool = True, keep: bool = True) -> Json:
        """One answer; the arguments are those of `Source.ask`."""
        return self.source.ask({**_FIXED, **parameters}, self._read, whole=whole, keep=keep)

    def _read(self, answer: Answer) -> Json:
        try:
            plain = json.loads(answer.body)
        except ValueError as error:
            if answer.body.lstrip()[:1] in (b"{", b""):
                raise Weather("cut", f"{self.source.address} cut its answer at {len(answer.body)} bytes.") from error
            raise self.source.refused(f"answered without JSON: {answer.start()!r}.") from error
        if not isinstance(plain, dict):
            raise self.source.refused(f"answered {answer.start()!r}.")
        failure = plain.get("error")
        if failure is None:
            return plain
        code = str(failure.get("code"))
        said = f"{self.source.address} answered {code}: {failure.get('info')}"
        if code == "toomanyvalues":
            raise TooHeavy("too_many", said)
        if code in _BUSY or code.startswith("internal_api_error"):
            raise Weather("busy", said, retry_after=answer.retry_after())
        raise self.source.refused(f"refused the request with {code}: {failure.get('info')}.")


class _Listed:
    """The current revisions behind up to fifty titles."""

    def __init__(self, api: _Api, titles: Sequence[str]) -> None:
        self._renamed: dict[str, str] = {}
        self._redirects: dict[str, str] = {}
        self._pages: dict[str, Json] = {}
        more: dict[str, str] = {}
        while titles:
            answer = api.query({"titles": "|".join(titles), **_LISTING, **more})
            self._add(answer.get("query", {}))
            # Pages that did not fit into the answer have no revisions yet; they are not missing.
            before, more = more, {name: str(value) for name, value in answer.get("continue", {}).items()}
            if not more or more == before:
                break

    def revision(self, title: str) -> dict[str, str] | str:
        """Id, timestamp and title of the page behind a title as it was asked for, or a reason."""
        name = self._renamed.get(title, title)
        redirected = name in self._redirects
        for _ in self._redirects:
            name = self._redirects.get(name, name)
        page = self._pages.get(name, {"missing": True})
        if page.get("missing") or page.get("invalid") or page.get("ns", 0) != 0:
            return REDIRECT_TO_MISSING if redirected else MISSING
        for revision in page.get("revisions", ()):
            return {"id": str(revision["revid"]), "timestamp": revision["timestamp"], "title": page["title"]}
        return UNAVAILABLE

    def _add(self, query: Json) -> None:
        self._renamed |= {entry["from"]: entry["to"] for entry in query.get("normalized", ())}
        self._redirects |= {entry["from"]: entry["to"] for entry in query.get("redirects", ())}
        for page in query.get("pages", ()):
            if page.get("revisions") or page["title"] not in self._pages:
                self._pages[page["title"]] = page


class _Texts:
    """The texts of revisions: those that were fetched before, and the others in batches that shrink where they must."""

    def __init__(self, api: _Api, kept: Snapshot, revisions: Sequence[str]) -> None:
        self._api, self._kept = api, kept
        self._found: dict[str, Json | str] = {}
        for revision in dict.fromkeys(revisions):
            body = kept.get(self._key(revision))
            if body is not None:
                self._found[revision] = json.loads(body)
        self._fetch([revision for revision in dict.fromkeys(revisions) if revision not in self._found])

    def get(self, revision: str) -> Json | str:
        """Text and model of a revision, or a reason."""
        return self._found[revision]

    def _key(self, revision: str) -> str:
        return digest([self._api.source.address, revision])

    def _fetch(self, left: list[str]) -> None:
        if left and self._api.source.offline:
            raise InvalidInput(f"the texts of {len(left)} pages were never fetched. Run once without --offline.")
        size = _TITLES_PER_REQUEST
        while left:
            batch = left[:size]
            try:
                answer = self._api.query({"revids": "|".join(batch), **_CONTENT}, whole=len(batch) == 1, keep=False)
            except SourceUnavailable:
                if len(batch) > 1:
                    size = len(batch) // 2
                    continue
                self._api.query({"meta": "siteinfo"}, keep=False)  # raises if it isn't this page's fault
                self._found[batch[0]] = UNAVAILABLE
            else:
                self._take(answer.get("query", {}))
                served = sum(revision in self._found for revision in batch)
                if "continue" in answer:  # the others did not fit: asked for again, in batches that fit
                    size = max(served or len(batch) // 2, 1)
                if not served and (len(batch) == 1 or "continue" not in answer):
                    self._found |= dict.fromkeys(batch, TOO_LARGE if "continue" in answer else UNREADABLE)
            left = [revision for revision in left if revision not in self._found]

    def _take(self, query: Json) -> None:
        for page in query.get("pages", ()):
            for revision in page.get("revisions", ()):
                name, content = str(revision["revid"]), revision.get("slots", {}).get("main", {})
                if "content" in content:
                    self._found[name] = {"model": content.get("contentmodel", ""), "text": content["content"]}
                    self._kept.put(self._key(name), json.dumps(self._found[name], ensure_ascii=False).encode())
                else:
                    self._found[name] = UNREADABLE  # hidden by an administrator
        for name in query.get("badrevids", {}):
            self._found[str(name)] = UNREADABLE  # deleted since it was listed


def _site(api: _Api, language: Language) -> Site:
    query = api.query({"meta": "siteinfo", "siprop": "general|namespaces|namespacealiases"}).get("query", {})
    if "general" not in query:
        raise api.source.refused("answers JSON, but says nothing of a wiki.")
    general, default = query["general"], default_site(language)
    names = {
        str(entry.get(key, "")).lower(): int(entry["id"])
        for entry in [*query.get("namespaces", {}).values(), *query.get("namespacealiases", ())]
        for key in ("name", "canonical", "alias")
    }
    path = general.get("articlepath", "")
    base = urllib.parse.urljoin(general.get("base", ""), path.replace("$1", "")) if path.endswith("$1") else ""
    return Site(
        namespaces={**CANONICAL, **{name: key for name, key in names.items() if name}},
        page_url=base or default.page_url,
        licence=licence_of(general.get("sitename", "")),
    )
