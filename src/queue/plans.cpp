// Texts become saved plans. See plans.hpp.
//
// The text names the table, because only the planner's path reaches rules, policies and distributed
// tables; between building the text and parsing it a schema may be renamed and the name mean
// another table. So what was parsed is compared with the queue's oid each time it was parsed
// (anew).
#include "queue/plans.hpp"

namespace ecto_job {

namespace {

// Columns as ecto_job.job names them; the table's own times are UTC without a zone.
void append_job(StringInfo text, const Queue *queue) {
    const auto time = [text](const NameData &column, const char *attribute) {
        if (NameStr(column)[0] == '\0')
            appendStringInfo(text, "NULL::pg_catalog.timestamptz AS %s, ", attribute);
        else
            appendStringInfo(text, "pg_catalog.timezone('UTC', j.%s) AS %s, ",
                             quote_identifier(NameStr(column)), attribute);
    };
    appendStringInfoString(
        text, "j.id, j.state, j.expires, j.schedule, j.attempt, j.max_attempts, j.notify, "
              "j.priority, j.lease, j.key, j.error, j.meta, ");
    time(queue->inserted_at, "inserted_at");
    time(queue->updated_at, "updated_at");
    appendStringInfoString(text, queue->binary ? "j.params AS params_binary" : "j.params");
}

// ", updated_at = $1": $1 is `now` in every statement that changes a row
void append_touch(StringInfo text, const Queue *queue) {
    if (NameStr(queue->updated_at)[0] != '\0')
        appendStringInfo(text, ", %s = pg_catalog.timezone('UTC', $1)",
                         quote_identifier(NameStr(queue->updated_at)));
}

char *expand(const char *source, const Queue *queue) {
    StringInfoData text;
    initStringInfo(&text);
    for (const char *at = source; *at != '\0';) {
        if (strncmp(at, "{table}", 7) == 0) {
            appendStringInfoString(&text, qualified_name(queue));
            at += 7;
        } else if (strncmp(at, "{touch}", 7) == 0) {
            append_touch(&text, queue);
            at += 7;
        } else if (strncmp(at, "{job}", 5) == 0) {
            append_job(&text, queue);
            at += 5;
        } else {
            appendStringInfoChar(&text, *at++);
        }
    }
    return text.data;
}

SPIPlanPtr prepare(const Queue *queue, const StatementSource &source) {
    Oid types[lengthof(source.types)];
    memcpy(types, source.types, sizeof types);
    if (queue->binary && types[0] == JSONBOID) // params, the only jsonb that stands first
        types[0] = BYTEAOID;
    SPIPlanPtr const plan = SPI_prepare_cursor(expand(source.text, queue), source.parameters, types,
                                               CURSOR_OPT_GENERIC_PLAN);
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

} // namespace

void require_own_table(const Queue *queue, SPIPlanPtr plan) {
    auto *const source = static_cast<CachedPlanSource *>(linitial(SPI_plan_get_plan_sources(plan)));
    if (!list_member_oid(source->relationOids, queue->oid))
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("queue \"%s\" was renamed or moved just now", NameStr(queue->table)),
                        errhint("Try again.")));
}

SPIPlanPtr plan_for(Queue *queue, Statement statement, const StatementSource &source) {
    SPIPlanPtr &plan = queue->plans[static_cast<std::size_t>(statement)];
    if (plan != nullptr && SPI_plan_is_valid(plan))
        return plan;
    if (plan == nullptr)
        plan = prepare(queue, source);
    choose_plan(plan, source.by_index);
    require_own_table(queue, plan);
    return plan;
}

} // namespace ecto_job
