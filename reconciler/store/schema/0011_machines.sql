-- What the workers and targets of this space are reached by, as claimed before they are carried out: the states of other
-- spaces in the same database look here, in one turn, so that no two claim one machine.
CREATE TABLE machines (
    machine {text} PRIMARY KEY,
    address {text} NOT NULL
){strict};
