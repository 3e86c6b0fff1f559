"""Action API: articles by title from a live wiki.

Input:   titles and the address of a MediaWiki Action API.
Output:  for every title its `Article` as prose, or a reason, as `wikipedia.articles_from_dump` gives them.
Source:  MediaWiki's API documentation: batches, redirects, continuation, maxlag and etiquette.

Example:
    dict(articles_from_api(["ada_Lovelace"], english, "https://en.wikipedia.org/w/api.php", "me@here.org", 60, sleep))
"""

import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import requests

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.knowledge.wikipedia import (
    LICENCES,
    MISSING,
    REDIRECT_TO_MISSING,
    UNREADABLE,
    Clean,
    Page,
    Site,
    default_site,
    to_article,
)
from ditto_core.knowledge.wikitext import CANONICAL, prose
from ditto_core.languages import Language
from ditto_core.records import Article

_TITLES_PER_REQUEST = 50  # more are refused as "toomanyvalues"
_ATTEMPTS = 5
_LONGEST_WAIT = 120.0
_PASSING = frozenset({"maxlag", "ratelimited", "readonly"})


def articles_from_api(
    titles: Iterable[str],
    language: Language,
    address: str,
    contact: str,
    timeout_s: float,
    sleep: Callable[[float], None],
    clean: Clean = prose,
) -> Iterator[tuple[str, Article | str]]:
    """Look titles up in a live wiki.

    Args:
        titles: As an endpoint or a person wrote them.
        language: Of the wiki.
        address: Of api.php.
        contact: Mail address or page for the User-Agent.
        timeout_s: Seconds that one request may take.
        sleep: Waits that many seconds.
        clean: As in `wikipedia.articles_from_dump`.

    Yields:
        (title as it was asked for, article or reason), each title once, in their order.

    Raises:
        SourceUnavailable: The wiki stays busy or unreachable.
        InvalidInput: No Action API at this address, or it refuses the request.
    """
    wanted = list(dict.fromkeys(titles))
    with requests.Session() as session:
        session.headers["User-Agent"] = f"Ditto/0.1 ({contact or 'no contact given'})"
        api = _Api(session, address, timeout_s, sleep)
        site = _site(api, language) if wanted else default_site(language)
        for start in range(0, len(wanted), _TITLES_PER_REQUEST):
            batch = wanted[start : start + _TITLES_PER_REQUEST]
            # A bar would split a title in two, and an empty one is no title; no wiki has a page of such a name.
            found = _Batch(api, [title for title in batch if title.strip() and "|" not in title])
            for title in batch:
                page = found.page(title)
                yield title, page if isinstance(page, str) else to_article(page, site, language, clean)


class _Api:
    """One wiki's API, asked politely."""

    def __init__(self, session: requests.Session, address: str, timeout_s: float, sleep: Callable[[float], None]) -> None:
        self._session, self._address = session, address
        self._timeout_s, self._sleep = timeout_s, sleep

    def query(self, **parameters: str) -> Mapping[str, Any]:
        """One answer, after as many tries as a busy wiki needs."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._ask(parameters)
            except SourceUnavailable as busy:
                if attempt == _ATTEMPTS:
                    raise
                wait = 2.0 ** (attempt - 1) if busy.retry_after is None else busy.retry_after
                self._sleep(min(wait, _LONGEST_WAIT))
        raise AssertionError("attempts must be positive")

    def _ask(self, parameters: Mapping[str, str]) -> Mapping[str, Any]:
        fixed = {"action": "query", "format": "json", "formatversion": "2", "maxlag": "5"}
        try:
            answer = self._session.post(self._address, data=fixed | dict(parameters), timeout=self._timeout_s)
        except requests.exceptions.InvalidURL as error:
            raise self._refused(f"is no address: {error}") from error
        except requests.exceptions.RequestException as error:
            if "Connection refused" in str(error):
                raise self._refused("refuses connections; is the server running?") from error
            raise SourceUnavailable(f"{self._address} cannot be reached: {error}. Check the network.") from error
        wait = answer.headers.get("Retry-After", "")
        retry_after = float(wait) if wait.isdigit() else None
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise SourceUnavailable(f"{self._address} answered {answer.status_code}", retry_after=retry_after)
        try:
            plain = answer.json()
        except ValueError as error:
            raise self._refused(f"answered {answer.status_code} without JSON: {answer.text[:120]!r}") from error
        if not isinstance(plain, dict) or answer.status_code != 200:
            raise self._refused(f"answered {answer.status_code}: {answer.text[:120]!r}")
        failure = plain.get("error")
        if failure is None:
            return plain
        said = f"{failure.get('code')}: {failure.get('info')}"
        if failure.get("code") in _PASSING or str(failure.get("code")).startswith("internal_api_error"):
            raise SourceUnavailable(f"{self._address} is busy: {said}", retry_after=retry_after)
        raise self._refused(f"refused the request with {said}")

    def _refused(self, what: str) -> InvalidInput:
        return InvalidInput(
            f"knowledge.article_api {self._address!r} {what}. Expected a MediaWiki Action API, such as "
            f"https://{{lang}}.wikipedia.org/w/api.php."
        )


class _Batch:
    """All pages behind up to fifty titles."""

    def __init__(self, api: _Api, titles: Sequence[str]) -> None:
        self._renamed: dict[str, str] = {}
        self._redirects: dict[str, str] = {}
        self._pages: dict[str, Mapping[str, Any]] = {}
        more: Mapping[str, str] = {}
        while titles:
            answer = api.query(
                titles="|".join(titles), redirects="1", prop="revisions", rvslots="main",
                rvprop="ids|timestamp|content|contentmodel", **more,
            )  # fmt: skip
            self._add(answer.get("query", {}))
            # Pages that did not fit into the answer have no revisions yet; they are not missing.
            more = {name: str(value) for name, value in answer.get("continue", {}).items()}
            if not more:
                break

    def page(self, title: str) -> Page | str:
        """The page behind a title as it was asked for, or a reason."""
        name = self._renamed.get(title, title)
        redirected = name in self._redirects
        for _ in self._redirects:
            name = self._redirects.get(name, name)
        page = self._pages.get(name, {"missing": True})
        if page.get("missing") or page.get("invalid") or page.get("ns", 0) != 0:
            return REDIRECT_TO_MISSING if redirected else MISSING
        revision = next(iter(page.get("revisions", ())), None)
        content = revision.get("slots", {}).get("main", {}) if revision else {}
        if revision is None or "content" not in content:
            return UNREADABLE  # hidden by an administrator
        return Page(
            title=page["title"],
            namespace=0,
            redirect="",
            revision=str(revision["revid"]),
            timestamp=revision["timestamp"],
            model=content.get("contentmodel", ""),
            text=content["content"],
        )

    def _add(self, query: Mapping[str, Any]) -> None:
        self._renamed |= {entry["from"]: entry["to"] for entry in query.get("normalized", ())}
        self._redirects |= {entry["from"]: entry["to"] for entry in query.get("redirects", ())}
        for page in query.get("pages", ()):
            if page.get("revisions") or page["title"] not in self._pages:
                self._pages[page["title"]] = page


def _site(api: _Api, language: Language) -> Site:
    query = api.query(meta="siteinfo", siprop="general|namespaces|namespacealiases").get("query", {})
    general, default = query.get("general", {}), default_site(language)
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
        licence=LICENCES.get(general.get("sitename", ""), default.licence),
    )
