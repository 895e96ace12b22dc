-- A partner's key reaches what is that partner's in one program, and nothing else. The row says whose
-- key it is, so no handler has to trust the caller for it. A key that is bound to a partner without
-- its role would reach all of a program; one with the role and no partner would be nobody's.
alter table api_keys add column partner_id uuid;
alter table api_keys add constraint api_keys_partner
    foreign key (partner_id) references partners (partner_id);
alter table api_keys add constraint api_keys_partner_in_one_program
    check ((role = 'partner') = (partner_id is not null)
        and (partner_id is null or (program_ids is not null and cardinality(program_ids) = 1)));
