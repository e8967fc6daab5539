"""From the files of runs to statistics, verdicts and tables; needs no MindSpore."""
