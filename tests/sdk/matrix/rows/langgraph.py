"""LangGraph: a graph of one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK: Any = {"messages": [{"role": "user", "content": "Name a city."}]}


def graph(provider: SimulatedProvider) -> Any:
    model = ChatOpenAI(
        model="gpt-5-mini", base_url=provider.openai_url, api_key="any", max_retries=0, stream_chunk_timeout=None
    )

    def answer(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    return (
        StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END).compile()
    )


@row.call(graph)
def invoke(compiled: Any) -> Any:
    return compiled.invoke(ASK)


@row.call(graph)
async def ainvoke(compiled: Any) -> Any:
    return await compiled.ainvoke(ASK)


@row.stream(graph, eager=True)
def stream_messages(compiled: Any) -> Any:
    return compiled.stream(ASK, stream_mode="messages")


@row.stream(async_client=graph, eager=True)
def astream_messages(compiled: Any) -> Any:
    return compiled.astream(ASK, stream_mode="messages")
