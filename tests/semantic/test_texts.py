"""Which text of an argument is compared, and what is left of the argument; which texts may match at all."""

from __future__ import annotations

import pytest

from aicached.semantic.eligible import refusal
from aicached.semantic.texts import split


def user(content, **more):
    return {"role": "user", "content": content, **more}


BEFORE = [{"role": "system", "content": "Be brief."}, user("Hi"), {"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("hi", "hi"),
        ([user("hi")], "hi"),
        ((user("hi"),), "hi"),
        ([*BEFORE, user("hi")], "hi"),
        ([user([{"type": "text", "text": "hi"}])], "hi"),
        ([user([{"type": "image_url", "image_url": {}}, {"type": "input_text", "text": "hi"}])], "hi"),
        ([{"role": "user", "parts": [{"text": "hi"}]}], "hi"),
    ],
)
def test_the_text_is_that_of_the_last_user_message(value, text):
    assert text == split(value)[0]


@pytest.mark.parametrize(
    "value",
    [
        None, 5, [], (), {}, b"hi", ["hi"], [user(None)], [user([])], [user(5)], [{"content": "hi"}], BEFORE,
        [user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], [user([{"type": "image_url"}])],
        [user("hi"), {"role": "tool", "content": "5"}],
    ],
)  # fmt: skip
def test_anything_else_has_no_text(value):
    assert split(value) is None


def test_what_is_left_depends_on_everything_but_the_text():
    left = [
        split(value)[1]
        for value in (
            "hi",
            [user("hi")],
            (user("hi"),),
            [user("hi", name="Ann")],
            [*BEFORE, user("hi")],
            [*BEFORE[1:], user("hi")],
            [user([{"type": "text", "text": "hi"}])],
            [user([{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": "a"}])],
            [user([{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": "b"}])],
        )
    ]
    assert len(left) == len({repr(each) for each in left})
    assert split([*BEFORE, user("one")])[1] == split([*BEFORE, user("another")])[1]


def test_the_argument_itself_is_left_alone():
    value = [user([{"type": "text", "text": "hi"}])]
    split(value)
    assert [user([{"type": "text", "text": "hi"}])] == value


def test_messages_of_langchain_count_as_well():
    messages = pytest.importorskip("langchain_core.messages")
    text, left = split([messages.SystemMessage("Be brief."), messages.HumanMessage("hi")])
    assert "hi" == text
    assert left == split([messages.SystemMessage("Be brief."), messages.HumanMessage("ho")])[1]
    assert left != split([messages.SystemMessage("Be long."), messages.HumanMessage("hi")])[1]
    assert split([messages.AIMessage("hi")]) is None


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?",
        "what is tdd",
        "How do I cancel a subscription?",
        "Can you cancel a wire transfer once it was sent?",
        "How do I check my balance?",
        "Explain recursion",
        "git undo last commit",
        "Create a table of prime numbers",
    ],
)
def test_a_question_that_anybody_may_ask_at_any_time_may_match(text):
    assert refusal(text) is None


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("volatile", "What's the weather today?"),
        ("volatile", "What is my current balance?"),
        ("volatile", "Who is the latest winner right now?"),
        ("volatile", "Show me my pending orders"),
        ("volatile", "Is the shop open now near me?"),
        ("asks for something to be done", "Transfer $50 to Anna."),
        ("asks for something to be done", "please cancel the subscription"),
        ("asks for something to be done", "Delete all files in the folder"),
        ("points at what was said before", "cancel it"),
        ("points at what was said before", "how old is he"),
        ("points at what was said before", "and why does that fail?"),
        ("too short", "ok"),
        ("too short", "???"),
        ("too short", ""),
        ("long or structured", "word " * 70),
        ("long or structured", "```\nprint(1)\n``` what does this do"),
        ("long or structured", '{"a": 1} what is wrong here'),
    ],
)
def test_other_texts_are_answered_exactly_only(why, text):
    assert why == refusal(text)
