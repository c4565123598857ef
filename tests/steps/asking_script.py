"""A scripted backbone that writes questions and statements, some of them of no use."""

from sllm_data.records import Request
from sllm_data.seeding import uniform


def answer(request: Request) -> str:
    """Answers each pass with what it asks for, and every fifth question with two lines."""
    turn = request.request_id.partition(":")[2]
    words = " ".join(request.messages[-1].content.split()[-4:])
    match turn:
        case "question" | "followup" if uniform(request.seed, "useless") < 0.2:
            return "Here it is:\nWhat?"
        case "question" if "statement" in request.messages[-1].content:
            return f"Statement: It is about {request.audio_id.rpartition('/')[2]}."
        case "question" | "followup":
            return f'"What about {request.audio_id.rpartition("/")[2]}?"'
        case "followup_answer":
            return f"That would be {len(request.messages)} turns later, I think."
        case _:
            return f"I would say this much about it: {words}"


def answer_otherwise(request: Request) -> str:
    """Writes other questions and statements, useless where the other does."""
    said = answer(request)
    return said if "\n" in said else said.replace("about", "of")
