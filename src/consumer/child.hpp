// Child is a job's program: started by /bin/sh -c, with pipes to its standard input and from its
// standard error.
//
// The program leads a process group of its own. So Ctrl-C in the terminal stops the consumer
// gracefully without killing the jobs that it still has to finish, and a signal to the group
// reaches the processes that the shell started.
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
    // Starts the program. Its environment is the consumer's, with all ECTO_JOB_* variables and
    // those of a trace replaced by `variables` ("NAME=value"). Throws std::system_error if the
    // program cannot be started; `input` is unchanged then.
    Child(const std::string &command, const std::vector<std::string> &variables,
          std::string &&input);
    Child(const Child &) = delete; // the poller holds its address
    Child &operator=(const Child &) = delete;

    void watch(Poller &poller);
    // Returns whether the program has ended. After that failure() and stderr_tail() are final.
    bool ended();
    void kill(int signal) const;

    // Returns "exit status 3" or "killed by signal 9"; nullopt on success.
    std::optional<std::string> failure() const;
    // Returns the program's exit status; nullopt if a signal killed it.
    std::optional<int> exit_status() const;
    // Returns the end of the program's standard error.
    std::string stderr_tail() const { return stderr_tail_.text(); }

private:
    void write_input();
    void read_stderr();

    pid_t pid_ = 0;
    int status_ = 0;
    std::string input_;
    std::size_t written_ = 0;
    Descriptor stdin_;
    Descriptor stderr_;
    Tail stderr_tail_;
};

} // namespace ecto_job::consumer
