"""Logs of other tools as traces.

rows.py          JSON and JSON lines of any size, row by row
chat.py          messages as other tools write them, in LangChain's form
parsed.py        what is in a row, and what is asked of all formats
openai_log.py    OpenAI's chat API: requests with their responses, or chats
langsmith.py     runs of LangSmith
langfuse.py      observations and traces of Langfuse
trajectory.py    what an agent did, with a reward
formats.py       which format a file has
"""
