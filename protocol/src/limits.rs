//! Every maximum in one place (I8). `docs/reference/limits.md` lists them for users.

/// Longest name of a user's stream, in bytes of UTF-8.
pub const STREAM_NAME_BYTES_MAX: usize = 512;
/// Longest name of a system stream (`$…`), in bytes: a user's stream behind a prefix.
pub const SYSTEM_STREAM_NAME_BYTES_MAX: usize = 576;
/// Longest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;
/// Longest content type, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Most tags of one event.
pub const TAGS_MAX: usize = 32;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 256;
/// Largest metadata of one event, in bytes.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Largest data of one event unless the store is configured otherwise, in bytes.
pub const DATA_BYTES_DEFAULT: usize = 1024 * 1024;
/// Largest data of one event that can be configured, in bytes.
pub const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest append, in bytes of its encoded records.
pub const APPEND_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most events of one append.
pub const APPEND_EVENTS_MAX: usize = 65_536;
/// Most streams of one append, written or only checked.
pub const APPEND_STREAMS_MAX: usize = 1024;
/// Most items of the query of a boundary or absence clause.
pub const QUERY_ITEMS_MAX: usize = 64;
/// Most types of one query item.
pub const QUERY_ITEM_TYPES_MAX: usize = 64;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Most positions that a conflict names.
pub const CONFLICT_POSITIONS_MAX: usize = 16;
/// Most alternatives of a filter (`any`).
pub const FILTER_ALTERNATIVES_MAX: usize = 64;
/// Most values of one member of a filter.
pub const FILTER_VALUES_MAX: usize = 256;
/// Longest namespace name, in bytes.
pub const NAMESPACE_NAME_BYTES_MAX: usize = 63;
/// Typed extensions of one record or batch, in bytes.
pub const EXTENSIONS_BYTES_MAX: usize = 4096;
/// Largest encoded record, in bytes: data, metadata, names, and tags at their limits.
pub const RECORD_BYTES_MAX: usize = DATA_BYTES_MAX + METADATA_BYTES_MAX + 32 * 1024;
/// Size a frame aims at, in bytes; a larger batch makes a larger frame.
pub const FRAME_BYTES_TARGET: usize = 4 * 1024 * 1024;
/// Largest body of a frame, in bytes: the largest append with its offset table and batch header.
pub const FRAME_BODY_BYTES_MAX: usize = APPEND_BYTES_MAX + 4 * APPEND_EVENTS_MAX + 64 * 1024;
/// Smallest segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// First segment of a new log unless configured, in bytes; later ones double.
pub const SEGMENT_BYTES_FIRST: u64 = 1024 * 1024;
/// Largest segment unless a frame needs more, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Newest sealed segments that stay uncompressed unless configured, in bytes.
pub const FRAMES_KEPT_BYTES: u64 = 1024 * 1024 * 1024;
/// Independently compressed part of a rewritten segment, in bytes before compression; one record
/// that is larger has a block of its own.
pub const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Appends waiting for the sequencer, at most.
pub const QUEUE_APPENDS_MAX: usize = 16_384;
/// Bytes of appends waiting for the sequencer, with their conditions, at most; one append is taken
/// whatever its size.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long an append waits for a place in the queue, in milliseconds, unless configured.
pub const QUEUE_WAIT_MS: u64 = 5_000;
/// Frames in flight to the disk, at most.
pub const FRAMES_IN_FLIGHT_MAX: usize = 8;
/// Recent frames kept in memory for readers, in bytes.
pub const TAIL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Window of the idempotency rule for appends without a revision, in microseconds of `recorded_at`.
pub const ID_WINDOW_US: i64 = 10 * 60 * 1_000_000;
/// Window of the same rule, in events: at least so many of the newest are looked at.
pub const ID_WINDOW_EVENTS: u64 = 1_000_000;
/// A forward jump of the wall clock above this raises an alarm, in microseconds.
pub const CLOCK_JUMP_ALARM_US: u64 = 1_000_000;
/// A forward jump of the wall clock above this refuses appends, in microseconds.
pub const CLOCK_JUMP_REFUSE_US: u64 = 3_600_000_000;
/// Largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest derived file (index), in bytes.
pub const INDEX_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Newest snapshots of a stream that are kept, before the ladder thins them out.
pub const SNAPSHOTS_NEWEST: usize = 4;
/// Largest head of a packet, in bytes.
pub const PACKET_HEAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest payload of a packet, in bytes: the largest append, or the largest record after others.
pub const PACKET_PAYLOAD_BYTES_MAX: usize = APPEND_BYTES_MAX + 64 * 1024;
/// Largest first packet of a connection, in bytes, before it is known who speaks.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Most streams in one answer of a server; a longer list is asked for page by page.
pub const STREAMS_PAGE_MAX: usize = 1000;
/// Deliveries of a group in one packet, answers in another, and events that one request names, each at most.
pub const DELIVERIES_MAX: usize = 1000;
/// Bytes of the control message of a packet of deliveries, or of answers to them.
pub const DELIVERIES_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Namespaces that metrics name, at most; of further ones only their number is told.
pub const METRIC_NAMESPACES_MAX: usize = 256;
/// Errors of one kind (the node's own, or callers') that are logged in a second, at most.
pub const LOGGED_ERRORS_PER_S_MAX: u32 = 20;
/// What administrators asked for that is kept on record, the newest so many, in events.
pub const AUDIT_EVENTS_MAX: u64 = 100_000;
/// Most of it in one answer; more is asked for page by page.
pub const AUDIT_PAGE_MAX: usize = 1000;

const _: () = assert!(FRAME_BYTES_TARGET <= APPEND_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX + 64 * 1024 <= PACKET_PAYLOAD_BYTES_MAX);
const _: () = assert!(FRAME_BODY_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(RECORD_BYTES_MAX <= APPEND_BYTES_MAX);
const _: () = assert!(SYSTEM_STREAM_NAME_BYTES_MAX >= STREAM_NAME_BYTES_MAX + "$snapshot-".len());
const _: () = assert!(TAGS_MAX * TAG_BYTES_MAX + 4 * SYSTEM_STREAM_NAME_BYTES_MAX < 32 * 1024);
/// Groups of a namespace.
pub const GROUPS_MAX: usize = 1_000;
/// Consumers of a group that broadcasts, each of which has a group of its own.
pub const BROADCAST_CONSUMERS_MAX: usize = 256;
/// Bytes of a group's name, and of a consumer's.
pub const GROUP_NAME_BYTES_MAX: usize = 128;
/// Lanes of a group: they cost little, and how many consumers can share an ordered group is bounded by them.
pub const LANES_MAX: u32 = 65_536;
/// Consumers of a group at a time.
pub const MEMBERS_MAX: usize = 1_024;
/// Deliveries of a group that may be unanswered at a time.
pub const IN_FLIGHT_MAX: u32 = 1_000_000;
/// The shortest time in which a delivery has to be answered, in milliseconds.
pub const ACK_DEADLINE_MS_MIN: u64 = 100;
/// The longest, which is that of SQS: 12 hours.
pub const ACK_DEADLINE_MS_MAX: u64 = 12 * 60 * 60 * 1000;
/// The most attempts that may be asked for.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// The longest pause between attempts, in milliseconds: a day.
pub const BACKOFF_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Events of a group that are not done, or came behind what is parked: beyond so many nothing more is read. Each costs
/// some 35 to 55 bytes.
pub const OPEN_MAX: usize = 2_000_000;
/// Events that failed and are parked, of a group: with so many it pauses itself.
pub const PARKED_MAX: usize = 100_000;
/// What is kept of an error, in bytes: its message and its causes together.
pub const ERROR_BYTES_MAX: usize = 4_096;
/// Entries of one answer that lists what is parked.
pub const PARKED_PAGE_MAX: usize = 1_000;
/// Longest key that what is parked is named by, in bytes: a stream's name is one.
pub const PARKED_KEY_BYTES_MAX: usize = SYSTEM_STREAM_NAME_BYTES_MAX;
/// Rules of a group for what is parked.
pub const PARKED_RULES_MAX: usize = 16;
/// Times that such a rule tries an event again.
pub const RULE_RETRIES_MAX: usize = 16;
/// The longest time that such a rule lets an event wait, in milliseconds: 30 days.
pub const RULE_RETRY_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// Events a second that are released at most, where a rate is given: beyond that it is no bound.
pub const PARKED_RATE_MAX: u32 = 1_000_000;
/// Routes of a namespace, to streams and to groups together.
pub const ROUTES_MAX: usize = 1_000;
/// Bytes of a route's name.
pub const ROUTE_NAME_BYTES_MAX: usize = 128;
/// Branches of a group: routes that lead to it.
pub const BRANCHES_MAX: usize = 32;
/// Conditions of a route.
pub const CONDITIONS_MAX: usize = 32;
/// Bytes of a pointer into an event.
pub const POINTER_BYTES_MAX: usize = 1_024;
/// Bytes of a condition's value, as JSON.
pub const CONDITION_VALUE_BYTES_MAX: usize = 4_096;
/// Routes that an event may be carried by, one after the other: one that came by so many is carried no further.
pub const HOPS_MAX: usize = 8;
/// Events that a dry run looks at, at most.
pub const DRY_RUN_EVENTS_MAX: u64 = 10_000;
/// Events that a dry run shows, at most.
pub const DRY_RUN_SHOWN_MAX: usize = 100;
/// Events that are asked for at a time of what links lead to.
pub const LINKS_RESOLVED_MAX: usize = 1_000;
/// Timers of a namespace that are armed, or failed and wait for a decision. Each costs some 250 bytes of memory.
pub const TIMERS_MAX: usize = 1_000_000;
/// Bytes of a timer's id.
pub const TIMER_ID_BYTES_MAX: usize = 256;
/// How far ahead a timer may be due, in days: a hundred years.
pub const TIMER_AHEAD_DAYS_MAX: u64 = 36_525;
/// How often the event of a timer is tried before the timer counts as failed.
pub const TIMER_ATTEMPTS_MAX: u32 = 5;
/// Timers of one answer that lists them.
pub const TIMERS_PAGE_MAX: usize = 1_000;

const _: () = assert!(TIMER_ID_BYTES_MAX + "$timer-".len() <= SYSTEM_STREAM_NAME_BYTES_MAX);
/// Subjects of schemas in a namespace.
pub const SUBJECTS_MAX: usize = 10_000;
/// Versions of one subject.
pub const SCHEMA_VERSIONS_MAX: usize = 1_000;
/// Bytes of a subject's name.
pub const SUBJECT_BYTES_MAX: usize = EVENT_TYPE_BYTES_MAX;
/// Patterns of types, and of categories, that a subject is bound by.
pub const SUBJECT_PATTERNS_MAX: usize = 64;
/// Bytes of a schema's text.
pub const SCHEMA_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a schema's text and of all that it refers to, directly or not.
pub const SCHEMA_CLOSURE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// References of one schema.
pub const SCHEMA_REFERENCES_MAX: usize = 64;
/// Bytes of the name of a reference.
pub const SCHEMA_REFERENCE_BYTES_MAX: usize = 1_024;
/// Bytes of a schema's or a subject's owner, and of its description.
pub const SCHEMA_OWNER_BYTES_MAX: usize = 4_096;
/// How deep a schema may be nested.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// What is told to be wrong with the events of one append, at most, and what stands between two versions.
pub const SCHEMA_PROBLEMS_MAX: usize = 16;
/// Subjects of one answer that lists them.
pub const SUBJECTS_PAGE_MAX: usize = 1_000;
/// Bytes of a transform's text.
pub const TRANSFORM_BYTES_MAX: usize = 64 * 1024;
/// Operations of a transform, with those inside of others.
pub const TRANSFORM_OPERATIONS_MAX: usize = 256;
/// Bytes of a path of a transform.
pub const TRANSFORM_PATH_BYTES_MAX: usize = 1_024;
/// Steps of a path of a transform.
pub const TRANSFORM_PATH_STEPS_MAX: usize = 32;
/// Paths that a value is split to, or joined from.
pub const TRANSFORM_PATHS_MAX: usize = 32;
/// How deep operations on the elements of arrays may be nested.
pub const TRANSFORM_EACH_DEPTH_MAX: usize = 4;
/// Parts of an expression of a transform.
pub const TRANSFORM_EXPRESSION_NODES_MAX: usize = 64;
/// How deep such an expression may be nested.
pub const TRANSFORM_EXPRESSION_DEPTH_MAX: usize = 8;
/// Events that one event is lifted to, at any step of its way.
pub const PARTS_MAX: usize = 256;
/// Data of all that one event is lifted to, in bytes.
pub const LIFTED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What operations make of one event on its way, or compare, in bytes, with what later ones drop again.
pub const LIFT_WORK_BYTES_MAX: usize = 4 * LIFTED_BYTES_MAX;
/// Bytes of the name of a projection, and of a field of its documents.
pub const PROJECTION_NAME_BYTES_MAX: usize = 64;
/// Fields of a projection's documents.
pub const PROJECTION_FIELDS_MAX: usize = 256;
/// Rules of one field.
pub const PROJECTION_RULES_MAX: usize = 32;
/// Bytes of a document's key.
pub const DOCUMENT_KEY_BYTES_MAX: usize = 512;
/// What a document's fields take in memory, in bytes, about.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Tags that a document carries.
pub const DOCUMENT_TAGS_MAX: usize = 1_024;
/// Bytes of a text that an expression puts together.
pub const DOCUMENT_TEXT_BYTES_MAX: usize = 64 * 1024;
/// Values that `append` keeps where nothing is said.
pub const APPEND_VALUES_DEFAULT: usize = 100;
/// Values that `append` keeps at most.
pub const APPEND_VALUES_MAX: usize = 1_000;
/// Different values that `count_distinct` tells apart.
pub const DISTINCT_VALUES_MAX: usize = 10_000;
/// Parts of an expression of a projection.
pub const COMPUTE_PARTS_MAX: usize = 64;
/// How deep such an expression may be nested.
pub const COMPUTE_DEPTH_MAX: usize = 8;
/// Projections of a namespace.
pub const PROJECTIONS_MAX: usize = 1_000;
/// Versions of one projection that are there at a time.
pub const PROJECTION_VERSIONS_MAX: usize = 8;
/// Bytes of a definition, as JSON.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;
/// Keys of one version of a projection that are parked, or wait for another try: with more of them it stops, and says so.
pub const PARKED_KEYS_MAX: usize = 1_000;
/// Events of one version of a projection that it was decided about to skip, or to fold with other data.
pub const AMENDMENTS_MAX: usize = 10_000;
/// Bytes of the data that such events are folded with, of one version of a projection.
pub const AMENDMENTS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often an event is folded that fails in a way which may pass, before its key is parked.
pub const FOLD_ATTEMPTS_MAX: u32 = 5;
/// How long a lookup waits for a position where nothing is said, in milliseconds.
pub const LOOKUP_WAIT_MS_DEFAULT: u64 = 5_000;
/// Subjects whose events a projection folds in a version of their schema.
pub const PROJECTION_SUBJECTS_MAX: usize = 64;
/// The longest time that a lookup waits for a position, in milliseconds.
pub const LOOKUP_WAIT_MS_MAX: u64 = 60_000;
/// How long a search goes on, in milliseconds; waiting for a position not counted.
pub const SEARCH_TIME_MS_MAX: u64 = 5_000;
/// Documents of one answer to a search.
pub const SEARCH_LIMIT_MAX: usize = 1_000;
/// Bytes of a search as JSON.
pub const SEARCH_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a query in the query language: it takes longer than its length to be taken apart.
pub const SEARCH_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the documents of one answer to a search, but for its first one: what is more is on the next page.
pub const SEARCH_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Fields whose matches one search highlights.
pub const SEARCH_HIGHLIGHTS_MAX: usize = 16;
/// Bytes of a keyword that is searched for, sorted by, or aggregated: longer ones are shown, and not found.
pub const KEYWORD_BYTES_MAX: usize = 8 * 1024;
/// Parts of a query.
pub const SEARCH_CLAUSES_MAX: usize = 256;
/// So many parts a part counts as that goes through all words of a field: a regular expression, `fuzzy`, and `prefix`.
pub const SEARCH_PATTERN_CLAUSES: usize = 16;
/// How deep a query may be nested.
pub const SEARCH_DEPTH_MAX: usize = 8;
/// Bytes of a regular expression in a query.
pub const SEARCH_REGEX_BYTES_MAX: usize = 256;
/// Parts of a regular expression in a query, repeated ones as often as they are: letters, and ranges of letters.
pub const SEARCH_REGEX_PARTS_MAX: usize = 4_000;
/// Letters of a word that is looked for by `fuzzy`.
pub const SEARCH_FUZZY_CHARS_MAX: usize = 64;
/// Memory that aggregations of one search take, in bytes.
pub const AGGREGATION_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Aggregations of one search, on all levels.
pub const AGGREGATIONS_MAX: usize = 32;
/// Levels of aggregations within aggregations.
pub const AGGREGATION_DEPTH_MAX: usize = 4;
/// Ranges of a `range`, and percents of `percentiles`.
pub const AGGREGATION_RANGES_MAX: usize = 64;
/// Values that `include` or `exclude` of `terms` names.
pub const AGGREGATION_VALUES_MAX: usize = 1_000;
/// Buckets of the aggregations of one search.
pub const AGGREGATION_BUCKETS_MAX: u32 = 10_000;
/// Counts by `facet` of one search.
pub const FACET_COUNTS_MAX: usize = 16;
/// Buckets that one count by `facet` shows.
pub const FACET_BUCKETS_MAX: usize = 1_000;
