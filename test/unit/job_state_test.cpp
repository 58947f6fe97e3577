// The six states. Their names are repeated here, since EctoJob's tables hold them.
#include "core/job_state.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <string>
#include <utility>

using namespace ecto_job;

namespace {

constexpr std::array<std::pair<State, std::string_view>, 6> table{{
    {State::scheduled, "SCHEDULED"},
    {State::available, "AVAILABLE"},
    {State::reserved, "RESERVED"},
    {State::in_progress, "IN_PROGRESS"},
    {State::retry, "RETRY"},
    {State::failed, "FAILED"},
}};

TEST(state, has_exactly_these_names) {
    EXPECT_EQ(all_states.size(), table.size());
    for (const auto &[state, text] : table) {
        EXPECT_EQ(name(state), text);
        EXPECT_EQ(state_from(text), state);
    }
}

TEST(state, nothing_else_is_a_state) {
    for (const auto &[state, text] : table) {
        const std::string exact{text};
        std::string lower = exact;
        lower[0] = static_cast<char>(lower[0] - 'A' + 'a');
        for (const std::string &near : {lower, exact + ' ', ' ' + exact, exact + '\0',
                                        exact.substr(1), exact.substr(0, exact.size() - 1)})
            EXPECT_EQ(state_from(near), std::nullopt) << near;
    }
    for (const std::string_view other : {"", "COMPLETED", "IN PROGRESS", "in_progress"})
        EXPECT_EQ(state_from(other), std::nullopt) << other;
}

RC_GTEST_PROP(state, a_text_is_a_state_only_if_it_is_its_name, ()) {
    // A name with one byte replaced is mostly no name, sometimes the original.
    std::string text{(*rc::gen::elementOf(table)).second};
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    text[at] = *rc::gen::oneOf(rc::gen::arbitrary<char>(), rc::gen::just(text[at]));
    const auto state = state_from(text);
    bool known = false;
    for (const auto &row : table)
        known = known || row.second == text;
    RC_ASSERT(state.has_value() == known);
    if (state)
        RC_ASSERT(name(*state) == text);
}

} // namespace
