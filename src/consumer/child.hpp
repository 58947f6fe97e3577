// A job's program: started by /bin/sh -c, fed, listened to, ended.
//
// It leads a process group of its own: the terminal's Ctrl-C stops the consumer gracefully and must
// not kill the jobs that it then finishes, and a signal to the group reaches what the shell
// started. No lock.
#pragma once

#include "consumer/descriptor.hpp"
#include "consumer/poller.hpp"
#include "consumer/text.hpp"

#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace ecto_job::consumer {

class Child {
public:
    // The environment is ours and `variables` ("NAME=value"), which take the place of all
    // ECTO_JOB_* that we have. Throws std::system_error if it cannot be started, and has not taken
    // the input then.
    Child(const std::string &command, const std::vector<std::string> &variables,
          std::string &&input);
    Child(const Child &) = delete; // the poller knows its address
    Child &operator=(const Child &) = delete;

    void watch(Poller &poller);
    // True once it is over. Then failure() and complaint() are final.
    bool ended();
    void kill(int signal) const;

    // "exit status 3" or "killed by signal 9"; nullopt = success.
    std::optional<std::string> failure() const;
    // The end of what it wrote to standard error.
    std::string complaint() const { return complaint_.text(); }

private:
    void feed();
    void listen();

    pid_t pid_ = 0;
    int status_ = 0;
    std::string input_;
    std::size_t fed_ = 0;
    Descriptor stdin_;
    Descriptor stderr_;
    Tail complaint_;
};

} // namespace ecto_job::consumer
