// Statement is a statement with its parameter values, ready to be sent. Values are sent beside the
// text, never in it.
//
// If `type` is 0 the server infers the parameter's type. Binary form is for bytes that text cannot
// represent: bytea, and values that may contain NUL.
#pragma once

#include <libpq-fe.h>
#include <optional>
#include <string>
#include <vector>

namespace ecto_job::consumer {

struct ParameterValue {
    std::optional<std::string> value; // nullopt = NULL
    Oid type = 0;
    bool binary = false;
};

struct Statement {
    std::string text;
    std::vector<ParameterValue> parameters = {};
    bool binary_result = false;
    bool only_prepare = false; // only parse it, to check that the server accepts it
};

} // namespace ecto_job::consumer
