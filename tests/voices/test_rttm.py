from unmingle.voices.rttm import Turn, to_rttm


def test_turns_are_lines_in_the_order_of_time():
    turns = [Turn(2.5, 4.0, "spk2", 0.9), Turn(0.1, 1.2, "anna")]
    assert to_rttm(turns, stem="two voices").splitlines() == [
        "SPEAKER two_voices 1 0.100 1.100 <NA> <NA> anna <NA> <NA>",
        "SPEAKER two_voices 1 2.500 1.500 <NA> <NA> spk2 <NA> <NA>",
    ]
