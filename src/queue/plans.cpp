// Texts become saved plans. See plans.hpp.
//
// The text names the table, because only the planner's path reaches rules, policies and distributed
// tables; between building the text and parsing it a schema may be renamed and the name mean
// another table. So what was parsed is compared with the queue's oid each time it was parsed
// (anew).
#include "queue/plans.hpp"

#include "queue/owner.hpp"

namespace ecto_job {

namespace {

void append_column(StringInfo text, const char *alias, const char *column) {
    appendStringInfo(text, "%s.%s", alias, quote_identifier(column));
}

// A time of the table as timestamptz, whatever the session's TimeZone
void append_time(StringInfo text, const char *column, bool is_utc) {
    if (is_utc)
        appendStringInfoString(text, "pg_catalog.timezone('UTC', ");
    append_column(text, "j", column);
    if (is_utc)
        appendStringInfoChar(text, ')');
}

// A timestamptz as the column's type. The parameter is converted and not the column, so that an
// index on the column serves.
void append_as(StringInfo text, const char *time, bool is_utc) {
    appendStringInfo(text, is_utc ? "pg_catalog.timezone('UTC', %s)" : "%s", time);
}

void append_table(StringInfo text, const Queue *queue, const char *) {
    appendStringInfoString(text, qualified_name(queue));
}

void append_priority(StringInfo text, const Queue *queue, const char *) {
    appendStringInfoString(text, queue->shape.priority ? "j.priority" : "0");
}

// The columns as ecto_job.job names them
void append_job(StringInfo text, const Queue *queue, const char *) {
    const auto time = [text](const char *column, bool is_utc, const char *attribute) {
        if (column[0] == '\0')
            appendStringInfoString(text, "NULL::pg_catalog.timestamptz");
        else
            append_time(text, column, is_utc);
        appendStringInfo(text, " AS %s, ", attribute);
    };
    const Shape &shape = queue->shape;
    // The key first, which rows are sorted by: what stands behind a text is found more slowly
    appendStringInfoString(text, "j.id, ");
    append_priority(text, queue, "");
    appendStringInfoString(text, " AS priority, ");
    time("schedule", shape.utc_schedule, "schedule");
    time("expires", shape.utc_expires, "expires");
    time(NameStr(queue->inserted_at), shape.utc_inserted_at, "inserted_at");
    time(NameStr(queue->updated_at), shape.utc_updated_at, "updated_at");
    appendStringInfoString(text, "j.attempt, j.max_attempts, j.lease, j.state, j.notify, j.key, "
                                 "j.error, j.meta, ");
    appendStringInfoString(text, queue->binary ? "j.params AS params_binary" : "j.params");
}

// ", updated_at = $1": $1 is `now` in every statement that changes a row
void append_touch(StringInfo text, const Queue *queue, const char *) {
    if (NameStr(queue->updated_at)[0] == '\0')
        return;
    appendStringInfo(text, ", %s = ", quote_identifier(NameStr(queue->updated_at)));
    append_as(text, "$1", queue->shape.utc_updated_at);
}

void append_with_priority(StringInfo text, const Queue *queue, const char *body) {
    if (queue->shape.priority)
        appendStringInfoString(text, body);
}

void append_as_schedule(StringInfo text, const Queue *queue, const char *time) {
    append_as(text, time, queue->shape.utc_schedule);
}

void append_as_expires(StringInfo text, const Queue *queue, const char *time) {
    append_as(text, time, queue->shape.utc_expires);
}

void append_schedule(StringInfo text, const Queue *queue, const char *) {
    append_time(text, "schedule", queue->shape.utc_schedule);
}

void append_expires(StringInfo text, const Queue *queue, const char *) {
    append_time(text, "expires", queue->shape.utc_expires);
}

void append_in_play(StringInfo text, const Queue *queue, const char *alias) {
    if (queue->shape.in_play)
        appendStringInfo(text, "%s.in_play AND ", alias);
}

// Where there is our index of the rows in play: those up to the key of $2, $3, $4, backwards, since
// a scan begins at a row comparison, but goes on behind one to the index's end
void append_down_from_key(StringInfo text, const Queue *queue, const char *alias) {
    if (!queue->shape.in_play)
        return;
    const auto priority = [&](const char *of) { return queue->shape.priority ? of : ""; };
    appendStringInfo(text, " AND (%s%s.schedule, %s.id) OPERATOR(pg_catalog.<=) (%s",
                     priority(psprintf("%s.priority, ", alias)), alias, alias, priority("$2, "));
    append_as(text, "$3", queue->shape.utc_schedule);
    appendStringInfo(text, ", $4) ORDER BY %s%s.schedule DESC, %s.id DESC",
                     priority(psprintf("%s.priority DESC, ", alias)), alias, alias);
}

void append_waits(StringInfo text, const Queue *queue, const char *alias) {
    if (queue->shape.in_play)
        appendStringInfo(text, "NOT %s.in_play", alias);
    else
        appendStringInfo(text,
                         "%s.state OPERATOR(pg_catalog.=) ANY"
                         " ('{SCHEDULED,RETRY}'::pg_catalog.text[])",
                         alias);
}

// {word} or {word:body}
struct Placeholder {
    const char *word;
    void (*append)(StringInfo text, const Queue *queue, const char *body);
};
constexpr Placeholder placeholders[] = {
    {"table", append_table},
    {"job", append_job},
    {"touch", append_touch},
    {"priority", append_priority},
    {"schedule", append_schedule},
    {"expires", append_expires},
    {"with_priority", append_with_priority},
    {"as_schedule", append_as_schedule},
    {"as_expires", append_as_expires},
    {"in_play", append_in_play},
    {"down_from_key", append_down_from_key},
    {"waits", append_waits},
};

// Fills in the placeholder that `at` begins with; returns what follows it, or null: it is none
const char *fill_in(StringInfo text, const char *at, const Queue *queue) {
    for (const Placeholder &placeholder : placeholders) {
        const Size length = strlen(placeholder.word);
        if (strncmp(at + 1, placeholder.word, length) != 0)
            continue;
        const char *const rest = at + 1 + length;
        if (*rest != '}' && *rest != ':')
            continue;
        const char *const end = strchr(rest, '}');
        placeholder.append(
            text, queue, *rest == '}' ? "" : pnstrdup(rest + 1, static_cast<Size>(end - rest - 1)));
        return end + 1;
    }
    return nullptr;
}

char *expand(const char *source, const Queue *queue) {
    StringInfoData text;
    initStringInfo(&text);
    for (const char *at = source; *at != '\0';) {
        const char *const after = *at == '{' ? fill_in(&text, at, queue) : nullptr;
        if (after != nullptr)
            at = after;
        else
            appendStringInfoChar(&text, *at++);
    }
    return text.data;
}

SPIPlanPtr prepare(const Queue *queue, const StatementSource &source) {
    Oid types[lengthof(source.types)];
    memcpy(types, source.types, sizeof types);
    if (queue->binary && types[0] == JSONBOID) // params, the only jsonb that stands first
        types[0] = BYTEAOID;
    Oid user = InvalidOid;
    int context = 0;
    GetUserIdAndSecContext(&user, &context);
    // Policies become part of the statement here. An ERROR puts the context back
    if (sees_all_jobs(queue->oid))
        SetUserIdAndSecContext(user, context | SECURITY_NOFORCE_RLS);
    SPIPlanPtr const plan = SPI_prepare_cursor(expand(source.text, queue), source.parameters, types,
                                               CURSOR_OPT_GENERIC_PLAN);
    SetUserIdAndSecContext(user, context);
    if (plan == nullptr)
        elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
    SPI_keepplan(plan);
    return plan;
}

// Makes the generic plan now, under settings of our choice; running it later uses it as it is
void choose_plan(SPIPlanPtr plan, bool by_index) {
    const int nest = NewGUCNestLevel();
    if (by_index)
        for (const char *setting : {"enable_seqscan", "enable_bitmapscan"})
            set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                              false);
    CachedPlan *const chosen = SPI_plan_get_cached_plan(plan);
    if (chosen != nullptr)
        ReleaseCachedPlan(chosen, CurrentResourceOwner);
    AtEOXact_GUC(false, nest);
}

CachedPlanSource *source_of_plan(SPIPlanPtr plan) {
    return static_cast<CachedPlanSource *>(linitial(SPI_plan_get_plan_sources(plan)));
}

} // namespace

void require_own_table(const Queue *queue, SPIPlanPtr plan) {
    CachedPlanSource *const source = source_of_plan(plan);
    if (!list_member_oid(source->relationOids, queue->oid))
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("queue \"%s\" was renamed or moved just now", NameStr(queue->table)),
                        errhint("Try again.")));
    // Made again, it may have been parsed again, and a policy hide jobs from the sweep
    constexpr int made_once = 1;
    if (source->dependsOnRLS && sees_all_jobs(queue->oid) && source->generation > made_once) {
        outdate_queue(queue->oid);
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("queue \"%s\" was altered just now", NameStr(queue->table)),
                        errhint("Try again.")));
    }
}

SPIPlanPtr plan_for(Queue *queue, Statement statement) {
    const StatementSource &source = source_of(statement);
    SPIPlanPtr &plan = queue->plans[static_cast<std::size_t>(statement)];
    if (plan != nullptr && SPI_plan_is_valid(plan))
        return plan;
    if (plan == nullptr)
        plan = prepare(queue, source);
    choose_plan(plan, source.scan == Scan::index ||
                          (source.scan == Scan::own_index && queue->shape.in_play));
    require_own_table(queue, plan);
    return plan;
}

} // namespace ecto_job
