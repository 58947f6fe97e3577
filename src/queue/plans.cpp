// The making of saved plans. See plans.hpp.
//
// A statement's text names the table, because only planning from a text respects rules, policies
// and distributed tables. Between the writing of the text and its parsing a schema may be renamed,
// so that the name means another table. So the OIDs of the parsed tables are compared with the
// queue's each time that the text may have been parsed.
#include "queue/plans.hpp"

#include "queue/owner.hpp"

namespace ecto_job {

namespace {

// In the order of SqlType
constexpr Oid type_oids[] = {INT4OID, INT8OID,    INT8ARRAYOID, BOOLOID,        FLOAT8OID,
                             TEXTOID, VARCHAROID, JSONBOID,     TIMESTAMPTZOID, JSONBOID};

struct Types {
    Oid oids[parameter_count];
    int count;
};

Types types_of(const Queue *queue, Statement statement) {
    Types types{};
    for (const std::uint8_t at : parameters_of(statement)) {
        const SqlType type = parameters[at].type;
        types.oids[types.count++] = type == SqlType::params && queue->binary
                                        ? Oid{BYTEAOID}
                                        : type_oids[static_cast<std::size_t>(type)];
    }
    return types;
}

const char *quoted_or_empty(const NameData &column) {
    return NameStr(column)[0] == '\0' ? "" : quote_identifier(NameStr(column));
}

const char *text_for(const Queue *queue, Statement statement) {
    const TableText table{qualified_name(queue),
                          quoted_or_empty(queue->inserted_at),
                          quoted_or_empty(queue->updated_at),
                          queue->binary,
                          queue->layout,
                          queue->options.retry != RetryDelay{}};
    const Size length = write_text(statement, table, nullptr);
    auto *const text = static_cast<char *>(palloc(length + 1));
    write_text(statement, table, text);
    text[length] = '\0';
    return text;
}

SPIPlanPtr prepare(const Queue *queue, Statement statement) {
    Types types = types_of(queue, statement);
    Oid user = InvalidOid;
    int context = 0;
    GetUserIdAndSecContext(&user, &context);
    // Policies become part of the statement here. An ERROR restores the context
    if (sees_all_jobs(queue->oid))
        SetUserIdAndSecContext(user, context | SECURITY_NOFORCE_RLS);
    SPIPlanPtr const plan = SPI_prepare_cursor(text_for(queue, statement), types.count, types.oids,
                                               CURSOR_OPT_GENERIC_PLAN);
    SetUserIdAndSecContext(user, context);
    if (plan == nullptr)
        elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
    SPI_keepplan(plan);
    return plan;
}

// Makes the generic plan now, under settings that choose an index; later executions use this plan.
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
    // A plan that was made again may have been parsed again, with a policy that hides jobs from the
    // sweep
    constexpr int made_once = 1;
    if (source->dependsOnRLS && sees_all_jobs(queue->oid) && source->generation > made_once) {
        outdate_queue(queue->oid);
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("queue \"%s\" was altered just now", NameStr(queue->table)),
                        errhint("Try again.")));
    }
}

SPIPlanPtr plan_for(Queue *queue, Statement statement) {
    SPIPlanPtr &plan = queue->plans[static_cast<std::size_t>(statement)];
    if (plan != nullptr && SPI_plan_is_valid(plan))
        return plan;
    if (plan == nullptr)
        plan = prepare(queue, statement);
    const Scan scan = scan_of(statement);
    choose_plan(plan, scan == Scan::index || (scan == Scan::own_index && queue->layout.in_play));
    require_own_table(queue, plan);
    return plan;
}

} // namespace ecto_job
