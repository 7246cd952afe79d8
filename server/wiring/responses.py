"""Building of the routes of responses, and of what answers those in the background."""

from __future__ import annotations

from server.api.conversations.items import Items
from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.responses.answering import Endings
from server.api.responses.asking import AskedTurns
from server.api.responses.background.callers import Callers
from server.api.responses.background.cancelling import CancelRoutes
from server.api.responses.background.entering import Entering
from server.api.responses.background.kept_events import KeptEvents
from server.api.responses.background.later import LaterResponses
from server.api.responses.background.replay import Replays
from server.api.responses.background.work import ResponseWork
from server.api.responses.background.worker import Background
from server.api.responses.compaction.routes import CompactionRoutes
from server.api.responses.context import Contexts
from server.api.responses.input_tokens import InputTokens
from server.api.responses.making import Making
from server.api.responses.routes import ResponseRoutes
from server.api.responses.server_tools.tool import ServerTools
from server.api.responses.stored_routes import StoredResponses
from server.app import RouteGroup
from server.authn.seals import Seals
from server.http.deferred import DeferredRequests
from server.http.open_streams import OpenStreams
from server.json_input.reader import Reader
from server.telemetry.metrics import Metrics
from server.wiring.stores import Stores


class ResponseServices:
    """Everything about the responses of `stores`.

    Requests in the background are at most `longest` seconds old; `callers` knows those who have made them.
    """

    def __init__(
        self,
        stores: Stores,
        catalogue: Catalogue,
        asking: Asking,
        turns: AskedTurns,
        items: Items,
        seals: Seals,
        reader: Reader,
        endings: Endings,
        tools: ServerTools,
        streams: OpenStreams,
        deferred: DeferredRequests,
        metrics: Metrics,
        callers: Callers,
        longest: int,
    ) -> None:
        responses, queue = stores.responses, stores.response_queue
        contexts = Contexts(responses, items, stores.prompts)
        making = Making(turns, seals, endings, tools)
        events = KeptEvents(responses.parts)
        later = LaterResponses(stores.response_table, responses, queue, events, items)
        work = ResponseWork(later, making, contexts, callers, deferred, longest, metrics.background.ended)
        self.background = Background(later, work, callers, deferred)
        metrics.background.watch(lambda: (self.background.waiting, self.background.answering))
        replays = Replays(later.readers, streams)
        entering = Entering(making, later, self.background, replays)
        self.making: list[RouteGroup] = [
            ResponseRoutes(asking, making, responses, contexts, items, reader, entering),
            CompactionRoutes(turns, contexts, seals, reader),
            InputTokens(turns, contexts, seals, reader, tools),
        ]
        self.stored: list[RouteGroup] = [
            StoredResponses(responses, catalogue, queue, self.background, replays),
            CancelRoutes(later, self.background),
        ]
