"""Verdicts in a judging model's words: what each metric's parser reads from replies as models write them, and what it leaves."""

import pytest

from ditto_core.evaluation import role_identity, role_knowledge, unknown_rejection

CANDIDATES = ("Marie Curie", "Athena", "Bob Marley", "Athena Nike")


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        pytest.param("The metal is right. [[8]]", 8, id="as-asked"),
        pytest.param("**8**", 8, id="bold"),
        pytest.param("8/10", 8, id="of-ten"),
        pytest.param("I'd call this 7 out of 10.", 7, id="out-of-ten"),
        pytest.param("Score: 8.", 8, id="labelled-with-full-stop"),
        pytest.param("**Score:** 8/10", 8, id="bold-label"),
        pytest.param("Final score is **9**.", 9, id="label-then-bold"),
        pytest.param("评分：８分", 8, id="full-width"),
        pytest.param("［［８］］", 8, id="full-width-brackets"),
        pytest.param("Partly right. [[8", 8, id="brackets-not-closed"),
        pytest.param("Partly right. 8]]", 8, id="brackets-not-opened"),
        pytest.param("Verdict [8]", 8, id="single-brackets"),
        pytest.param("[[8/10]]", 8, id="of-ten-in-brackets"),
        pytest.param("[[ **8** ]]", 8, id="bold-in-brackets"),
        pytest.param("8", 8, id="bare"),
        pytest.param("It names polonium (1898) and Poland.\n\n8\n", 8, id="last-line"),
        pytest.param("At first I thought [[3]], but it is all there: [[9]]", 9, id="last-verdict-wins"),
        pytest.param("Score: 8. See fact [2].", 8, id="a-reference-is-no-verdict"),
        pytest.param("[[7.5]]", 7.5, id="half-points"),
        pytest.param("10/10", 10, id="highest"),
        pytest.param("Is it [[3]]? No.</think>\nAll is there. [[9]]", 9, id="after-a-thought-opened-in-the-prompt"),
        pytest.param("Is it [[3]]? No.</think>", None, id="only-thought"),
        pytest.param("[[0]]", None, id="below-the-scale"),
        pytest.param("[[85]]", None, id="above-the-scale"),
        pytest.param("Score: 80/100", None, id="another-scale"),
        pytest.param("Score: 7-8", None, id="a-range"),
        pytest.param("On a scale from 1 to 10, this is good.", None, id="only-the-scale"),
        pytest.param("She won it in 1903.", None, id="only-a-year"),
        pytest.param("I cannot grade this.", None, id="refusal"),
        pytest.param("", None, id="empty"),
    ],
)
def test_knowledge_score_is_read_or_unscored(reply: str, score: float | None) -> None:
    assert role_knowledge.parse(reply) == score


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        pytest.param("Polonium gives her away. [[A]]", 0, id="as-asked"),
        pytest.param("[[b]]", 1, id="small-letter"),
        pytest.param("［［Ｃ］］", 2, id="full-width"),
        pytest.param("[[C. Bob Marley]]", 2, id="letter-and-name"),
        pytest.param("[[Bob Marley]]", 2, id="name-in-brackets"),
        pytest.param("[[**B**]]", 1, id="bold-in-brackets"),
        pytest.param("It must be C. [[C", 2, id="brackets-not-closed"),
        pytest.param("**B**", 1, id="bold"),
        pytest.param("C", 2, id="bare"),
        pytest.param("(C)", 2, id="round-brackets"),
        pytest.param("B) Athena", 1, id="list-style"),
        pytest.param("Answer: D", 3, id="labelled"),
        pytest.param("The answer is **A**.", 0, id="sentence"),
        pytest.param("The answer is B because of the owl.", 1, id="sentence-goes-on"),
        pytest.param("答案：C", 2, id="chinese-label"),
        pytest.param("Marie Curie", 0, id="name"),
        pytest.param("This is clearly Bob Marley speaking.", 2, id="name-in-a-sentence"),
        pytest.param("It is Athena Nike.", 3, id="longest-name"),
        pytest.param("It could be Athena.\nNo: Bob Marley.", 2, id="last-name-wins"),
        pytest.param("First [[A]], on reflection [[B]]", 1, id="last-verdict-wins"),
        pytest.param("[[none]]", role_identity.NONE, id="none"),
        pytest.param("None of them.", role_identity.NONE, id="none-in-words"),
        pytest.param("The character is a scientist of some kind.", None, id="an-article-is-no-letter"),
        pytest.param("Answer: A physicist or a singer.", None, id="a-capital-article-is-no-letter"),
        pytest.param("Either Athena or Bob Marley.", None, id="two-names"),
        pytest.param("[[E]]", None, id="no-such-letter"),
        pytest.param("I cannot tell.", None, id="refusal"),
        pytest.param("", None, id="empty"),
    ],
)
def test_identity_choice_is_read_or_unscored(reply: str, index: int | None) -> None:
    assert role_identity.parse(reply, CANDIDATES) == index


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        pytest.param("She does not know it. [[yes]]", 1, id="as-asked"),
        pytest.param("[[No]]", 0, id="no"),
        pytest.param("[[1]]", 1, id="one"),
        pytest.param("０", 0, id="full-width-zero"),
        pytest.param("**Yes**", 1, id="bold"),
        pytest.param("Verdict: no.", 0, id="labelled"),
        pytest.param("Answer: **1**", 1, id="labelled-one"),
        pytest.param("No, the role goes along with it.", 0, id="leading-word"),
        pytest.param("The speaker has no idea.\nYes", 1, id="last-line"),
        pytest.param("[[yes", 1, id="brackets-not-closed"),
        pytest.param("yes]]", 1, id="brackets-not-opened"),
        pytest.param("[[yes]] ... no, wait: [[no]]", 0, id="last-verdict-wins"),
        pytest.param("[[是]]", 1, id="chinese-yes"),
        pytest.param("[[否]]", 0, id="chinese-no"),
        pytest.param("[[아니요]]", 0, id="korean-no"),
        pytest.param("Perhaps; there is no way to tell.", None, id="a-no-inside-a-sentence"),
        pytest.param("[[maybe]]", None, id="neither"),
        pytest.param("", None, id="empty"),
    ],
)
def test_rejection_is_read_or_unscored(reply: str, refused: int | None) -> None:
    assert unknown_rejection.parse(reply) == refused
