// Reading timestamps_opts. See timestamps_opts.hpp.
#include "functions/timestamps_opts.hpp"

#include "pg/jsonb.hpp"

namespace ecto_job {

namespace {

[[noreturn]] void refuse(const char *table, const char *option, const char *hint) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("timestamps_opts of queue \"%s\": %s", table, option), errhint("%s", hint)));
}

// "inserted_at" or "updated_at": a column's name, or false for no column
const char *column_name(const char *table, const char *key, const JsonbValue &value) {
    if (value.type == jbvBool && !value.val.boolean)
        return nullptr;
    if (value.type != jbvString || value.val.string.len == 0 || value.val.string.len >= NAMEDATALEN)
        refuse(table, psprintf("\"%s\" is no column's name", key),
               "Give a name of 1 to 63 bytes, or false for no such column.");
    return text_of(value);
}

bool is_of_whole_seconds(const char *table, const JsonbValue &value) {
    const char *const given = text_of(value);
    const char *const type = given != nullptr ? given : "";
    if (strcmp(type, "naive_datetime") == 0 || strcmp(type, "utc_datetime") == 0)
        return true;
    if (strcmp(type, "naive_datetime_usec") != 0 && strcmp(type, "utc_datetime_usec") != 0)
        refuse(table, "unknown type",
               "It is one of naive_datetime, naive_datetime_usec, utc_datetime, "
               "utc_datetime_usec.");
    return false;
}

bool is_false(Jsonb *options) {
    JsonbValue scalar;
    return JB_ROOT_IS_SCALAR(options) && JsonbExtractScalar(&options->root, &scalar) &&
           scalar.type == jbvBool && !scalar.val.boolean;
}

} // namespace

TimestampsOpts timestamps_opts_argument(FunctionCallInfo fcinfo, int at, const char *table) {
    TimestampsOpts opts{};
    if (PG_ARGISNULL(at))
        return opts;
    Jsonb *const options = PG_GETARG_JSONB_P(at);
    if (is_false(options)) {
        opts.names.inserted_at = opts.names.updated_at = nullptr;
        return opts;
    }
    if (!JB_ROOT_IS_OBJECT(options))
        refuse(table, "neither an object nor false",
               "Such as '{\"type\": \"utc_datetime_usec\"}'.");
    for_each_pair(options, [&](const JsonbValue &name, const JsonbValue &value) {
        const char *const key = text_of(name);
        if (strcmp(key, "inserted_at") == 0)
            opts.names.inserted_at = column_name(table, key, value);
        else if (strcmp(key, "updated_at") == 0)
            opts.names.updated_at = column_name(table, key, value);
        else if (strcmp(key, "type") == 0)
            opts.whole_seconds = is_of_whole_seconds(table, value);
        else
            refuse(table, psprintf("unknown key \"%s\"", key),
                   "The keys are inserted_at, updated_at and type.");
    });
    return opts;
}

} // namespace ecto_job
